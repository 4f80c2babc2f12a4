"""Runs on a board: sent there as text, it needs nothing but Python's library (3.7, to say that more is needed).

Standard input: one line of JSON, {"modules": […], "folder": DIR or null}; then, if the answer pleases, a tar archive.
Standard output: lines that begin with a mark, so that a login script's own words are not taken for an answer; behind
it JSON: {"python": …, "missing": […], …} at once, {"progress": LINE} for each line of the runner, and {"result": TEXT}
or {"failed": CODE, "message": LINE}. The folder it works in is removed whatever happens, also when the connection
ends: standard input does then.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading

_SITE, _REQUEST, _RESULT = "site", "request.json", "result.json"


def main(mark: str) -> int:
    """Answer, receive, measure; the exit code."""
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), _end)
    asked = json.loads(sys.stdin.buffer.readline().decode("utf-8"))
    parent = asked["folder"] or tempfile.gettempdir()
    missing = [name for name in asked["modules"] if importlib.util.find_spec(name) is None]
    free = shutil.disk_usage(parent).free if os.path.isdir(parent) else None  # noqa: PTH112
    python = list(sys.version_info[:3])
    _say(mark, {"python": python, "path": sys.executable, "missing": missing, "folder": parent, "free": free})
    if free is None:
        return 0
    folder = tempfile.mkdtemp(prefix="mlexport-", dir=parent)
    try:
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            # Python 3.11.4 and later have it, and warn without
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder)
        _measure(mark, folder)
    except tarfile.ReadError:
        # Nothing came: whoever asked did not like the answer, or went away
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _measure(mark: str, folder: str) -> None:
    site = os.path.join(folder, _SITE)  # noqa: PTH118
    paths = [site, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
    command = [sys.executable, "-m", "mlexport.bench.light", _REQUEST, _RESULT]
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
        )
        try:
            threading.Thread(target=_watch, args=(child,), daemon=True).start()
            assert child.stdout is not None
            for line in child.stdout:
                _say(mark, {"progress": line.decode("utf-8", "replace").strip()})
            code = child.wait()
        finally:
            _stop(child)
        if code:
            stderr.seek(0)
            lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
            _say(mark, {"failed": code, "message": lines[-1] if lines else "nothing on its standard error"})
            return
    with open(os.path.join(folder, _RESULT), encoding="utf-8") as result:  # noqa: PTH118, PTH123
        _say(mark, {"result": result.read()})


def _watch(child: subprocess.Popen[bytes]) -> None:
    """End the runner when nobody listens any more."""
    while sys.stdin.buffer.read(65536):
        pass
    child.terminate()


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _say(mark: str, content: dict[str, object]) -> None:
    sys.stdout.write(mark + json.dumps(content) + "\n")
    sys.stdout.flush()


def _end(number: int, frame: object) -> None:
    # Unwinds the stack, which removes the folder
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
