"""Times of one artifact in a process of its own, which answers questions on its standard input.

    python -m mlexport.estimate.timing FOLDER VARIANT

Each line asked is JSON, {"tokens": 128, "calls": 3}; each line answered too, {"samples_ns": […]}. `null` ends it.
For calibration: what a user reads is measured by `mlexport bench`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from mlexport import runtime
from mlexport.artifact import read_artifact
from mlexport.errors import MeasureError, MlexportError
from mlexport.spec import SubModelSpec, parse_target

# One token in every vocabulary that has English words; which one it is changes no time
_WORD = " the"
_FAILED = 3
# Share of the processor that others may take while a sample is kept
DISTURBED = 0.04
_WAIT_SECONDS = 0.2
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_STAT = Path("/proc/stat")


class Timed:
    """An artifact's variant in a process of its own; use it in a `with` block."""

    def __init__(self, folder: Path, variant: str) -> None:
        command = [sys.executable, "-m", "mlexport.estimate.timing", str(folder), variant]
        self.name = f"{folder} {variant}"
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def samples(self, tokens: int, calls: int) -> tuple[tuple[int, ...], float]:
        """Nanoseconds of each of some calls on one text of so many tokens, and what others took of the processor."""
        before = _busy_ticks() - _ticks(self.child.pid)
        start = time.perf_counter()
        self._write({"tokens": tokens, "calls": calls})
        found = self._answer()["samples_ns"]
        seconds = time.perf_counter() - start
        others = _busy_ticks() - _ticks(self.child.pid) - before
        return tuple(int(one) for one in found), max(0.0, others / _TICKS) / (seconds * (os.cpu_count() or 1))

    def undisturbed(self, tokens: int, seconds: float, tries: int = 6) -> tuple[tuple[int, ...], float]:
        """Samples for about so long, again where other processes took more than a little; those least disturbed."""
        [first], _ = self.samples(tokens, 1)
        calls = max(1, min(50, round(seconds * 1e9 / first)))
        best: tuple[tuple[int, ...], float] = ((), 1.0)
        for number in range(tries):
            found = self.samples(tokens, calls)
            best = min(best, found, key=lambda one: one[1])
            if best[1] <= DISTURBED:
                break
            time.sleep(_WAIT_SECONDS * (number + 1))
        return best

    def peak_bytes(self) -> int:
        """What the process held at most since its start."""
        self._write({"memory": True})
        return int(self._answer()["peak_bytes"])

    def __enter__(self) -> Timed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.kill()
        self.child.communicate()

    def _write(self, content: object) -> None:
        pipe = cast("IO[str]", self.child.stdin)
        pipe.write(json.dumps(content) + "\n")
        pipe.flush()

    def _answer(self) -> dict[str, Any]:
        line = cast("IO[str]", self.child.stdout).readline()
        if not line:
            words = self.child.communicate()[1].strip().splitlines()
            raise MeasureError(f"{self.name} could not be timed: {words[-1] if words else 'its process ended'}")
        return cast("dict[str, Any]", json.loads(line))


def _busy_ticks() -> int:
    """Ticks in which a processor was not idle, time taken by a hypervisor included; 0 where Linux does not say."""
    if not _STAT.exists():
        return 0
    user, nice, system, _, _, irq, soft, steal = map(int, _STAT.read_text().split(maxsplit=9)[1:9])
    return user + nice + system + irq + soft + steal


def _ticks(process: int) -> int:
    """Ticks of a process and of this one."""
    if not _STAT.exists():
        return 0
    total = 0
    for name in (str(process), "self"):
        fields = Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total


def _caller(folder: Path, variant: str) -> Callable[[int], int]:
    """Tokens -> nanoseconds of a call."""
    artifact = read_artifact(folder)
    manifest, chosen = artifact.manifest, artifact.manifest.variant(variant)
    target, dim = parse_target(manifest.target), SubModelSpec.parse(manifest.spec).dim
    embedder = runtime.load(target, folder, chosen.model_file, artifact.text, dim, takes=chosen.takes)
    ready: dict[int, Callable[[], object]] = {}

    def call(tokens: int) -> int:
        if tokens not in ready:
            ready[tokens] = embedder.stream(batch=1, tokens=tokens)([_text(embedder, tokens)])
        start = time.perf_counter_ns()
        ready[tokens]()
        return time.perf_counter_ns() - start

    return call


def _text(embedder: runtime.Embedder, tokens: int) -> str:
    """A text of so many tokens, its end token among them."""
    text = _WORD * (tokens - 1)
    found = len(embedder.token_ids([text])[0])
    if found != tokens:
        raise MeasureError(f"{tokens - 1} times {_WORD!r} are {found} tokens in this vocabulary, not {tokens}")
    return text


def _serve(folder: Path, variant: str) -> None:
    call = _caller(folder, variant)
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        if asked is None:
            return
        if "memory" in asked:
            _say({"peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})
        else:
            _say({"samples_ns": [call(asked["tokens"]) for _ in range(asked["calls"])]})


def _say(content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        _serve(Path(sys.argv[1]), sys.argv[2])
    except MlexportError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_FAILED)
