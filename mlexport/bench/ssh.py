"""Measuring on a board over ssh: one connection by the system's ssh, whose own configuration and checks hold."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlexport.bench import board
from mlexport.bench.request import BenchRequest
from mlexport.bench.ship import REQUIREMENTS, Shipment, pack
from mlexport.errors import MeasureError, UsageError
from mlexport.latency import BenchResult, read_latency
from mlexport.progress import Progress, Silent

# Names that neither ssh nor a shell could take for something else
_URL = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9]*=.+")
_LEAST_PYTHON = (3, 11)
# A board that was switched off is noticed within a minute
_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
# Room for what the runner writes, beside what is copied
_SPARE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SshPlace:
    """A machine that ssh reaches.

    Attributes:
        user, port: None takes what ssh's configuration says.
        options: KEY=VALUE as ssh's -o takes them.
        python: command or path of Python there; a leading ~/ is the user's home.
        folder: where its temporary folder is made; None is its system's own place.
    """

    user: str | None
    host: str
    port: int | None
    options: tuple[str, ...] = ()
    python: str = "python3"
    folder: str | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"ssh://{user}{self.host}{port}"

    def command(self, remote: str) -> list[str]:
        """The local command that runs `remote` there; it is one argument, which the shell there splits."""
        port = ["-p", str(self.port)] if self.port else []
        user = ["-l", self.user] if self.user else []
        options = [part for option in self.options for part in ("-o", option)]
        return ["ssh", "-T", *_ALIVE, *options, *port, *user, "--", self.host.strip("[]"), remote]


def parse_ssh(url: str, *, options: Sequence[str] = (), python: str = "python3", folder: str | None = None) -> SshPlace:
    """A place from ssh://user@host:port.

    Raises:
        UsageError: another form, or an option that is not KEY=VALUE.
    """
    found = _URL.fullmatch(url)
    if not found:
        raise UsageError(f"--on {url!r} is not of the form ssh://user@host:port, user and port as you like")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"--on {url!r}: port {port} is not between 1 and 65535")
    for option in options:
        if not _OPTION.fullmatch(option):
            raise UsageError(f"--ssh-option {option!r} is not of the form KEY=VALUE, as ssh's -o takes it")
    if not python.strip() or "\n" in python or python.startswith("-"):
        raise UsageError(f"--remote-python {python!r} is not a command or a path")
    return SshPlace(
        user=found["user"], host=found["host"], port=port, options=tuple(options), python=python, folder=folder
    )


def measure_over_ssh(request: BenchRequest, place: SshPlace, *, progress: Progress | None = None) -> BenchResult:
    """Copy, measure there, bring the result back; nothing stays there.

    Raises:
        MeasureError: no connection, a Python or a package that is missing there, or the run failed.
        ArtifactError: not an artifact, a damaged one, or no such variant.
    """
    shipment, told = pack(request), progress or Silent()
    told.step(f"connect to {place.host}", None)
    with _Session(place) as session:
        session.send({"modules": shipment.modules, "folder": place.folder})
        _check(session.answer(), shipment, place)
        told.step("copy", shipment.size)
        session.copy(shipment, told)
        while True:
            answer = session.answer()
            if "progress" in answer:
                _tell(told, str(answer["progress"]))
            elif "result" in answer:
                return _result(str(answer["result"]), place)
            else:
                message = str(answer.get("message")).removeprefix("error: ")
                raise MeasureError(f"{place}: {message}")


def _check(hello: Mapping[str, object], shipment: Shipment, place: SshPlace) -> None:
    python, path = hello["python"], hello["path"]
    assert isinstance(python, list)
    if tuple(python) < _LEAST_PYTHON:
        raise MeasureError(
            f"{place}: {path} is Python {'.'.join(map(str, python))}, the runner needs 3.11 or newer: "
            "name another with --remote-python PATH"
        )
    missing = hello["missing"]
    assert isinstance(missing, list)
    if missing:
        packages = " ".join(f'"{REQUIREMENTS[name]}"' for name in missing)
        raise MeasureError(
            f"{place}: {path} has no {', '.join(missing)}. There: {shlex.quote(str(path))} -m pip install {packages}"
        )
    folder, free, needed = hello["folder"], hello["free"], shipment.size + _SPARE_BYTES
    if free is None:
        raise MeasureError(f"{place}: there is no folder {folder}: choose another --remote-folder")
    assert isinstance(free, int)
    if free < needed:
        raise MeasureError(
            f"{place}: {folder} has {free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB are needed: "
            "make room, or choose another --remote-folder"
        )


def _result(text: str, place: SshPlace) -> BenchResult:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        path.write_text(text, encoding="utf-8")
        result = read_latency(path)
    if not isinstance(result, BenchResult):
        raise MeasureError(f"{place} answered with an estimate")
    return result


def _tell(told: Progress, line: str) -> None:
    """A line of the runner; see mlexport.bench.light."""
    try:
        content = json.loads(line)
    except ValueError:
        return
    if "step" in content:
        told.step(content["step"], content["total"])
    elif "advance" in content:
        told.advance(content["advance"])


class _Session:
    """A running ssh with `board.py` at its other end."""

    def __init__(self, place: SshPlace) -> None:
        self._place = place
        self._mark = f"mlexport-{secrets.token_hex(8)} "
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        # In base64 no shell finds anything to expand, whichever the user has there
        code = base64.b64encode(Path(board.__file__).read_bytes()).decode()
        words = ("-c", f"import base64;exec(base64.b64decode('{code}'))", self._mark)
        remote = " ".join(["exec", _quoted(place.python), *map(shlex.quote, words)])
        try:
            self._process = subprocess.Popen(
                place.command(remote), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
            )
        except OSError as error:
            self._stderr.close()
            raise MeasureError(f"no ssh on this machine ({error.strerror}): install OpenSSH's client") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *error: object) -> None:
        """Its standard input ends, and with it everything there."""
        with suppress(BrokenPipeError):
            self._in.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._stderr.close()

    def send(self, content: Mapping[str, object]) -> None:
        """A line of JSON."""
        try:
            self._in.write(json.dumps(content).encode() + b"\n")
            self._in.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def copy(self, shipment: Shipment, told: Progress) -> None:
        """The archive."""
        try:
            shipment.write(self._in, told.advance)
            self._in.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def answer(self) -> Mapping[str, object]:
        """The next line that is ours; a login script may print others."""
        for line in self._lines():
            return json.loads(line)  # type: ignore[no-any-return]
        raise self._ended()

    def _lines(self) -> Iterator[str]:
        while raw := self._out.readline():
            line = raw.decode("utf-8", "replace")
            if line.startswith(self._mark):
                yield line.removeprefix(self._mark)

    def _ended(self) -> MeasureError:
        code = self._process.wait()
        self._stderr.seek(0)
        said = [line.strip() for line in self._stderr.read().decode("utf-8", "replace").splitlines() if line.strip()]
        last = said[-1] if said else f"exit code {code}, and nothing on its standard error"
        place = self._place
        if code == 255:
            hint = ""
            if "Host key verification failed" in last:
                port = f"-p {place.port} " if place.port else ""
                name = f"{place.user}@{place.host}" if place.user else place.host
                hint = f" Connect once by hand, and compare the key: ssh {port}{name.replace('[', '').replace(']', '')}"
            return MeasureError(f"{place} cannot be reached: {last}{hint}")
        if code in (126, 127):
            return MeasureError(
                f"{place}: there is no {place.python} that runs: name Python 3.11 or newer with --remote-python PATH"
            )
        return MeasureError(f"{place}: the runner ended: {last}")


def _quoted(path: str) -> str:
    """For the shell there; the tilde of a home is left to it."""
    return f"~/{shlex.quote(path[2:])}" if path.startswith("~/") and len(path) > 2 else shlex.quote(path)
