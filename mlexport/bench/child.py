"""A contestant in a process of its own, as its parent sees it: the parent sleeps until it is answered."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import TypeVar, cast

from mlexport import errors
from mlexport.bench.protocol import (
    END_TO_END,
    MODEL,
    TOKENISE,
    Ask,
    Closed,
    Failed,
    Opened,
    Task,
    Turn,
    from_line,
    to_line,
)
from mlexport.errors import MeasureError, MlexportError

Answer = TypeVar("Answer", Opened, Turn, Closed)
# What a model that is loaded has no use for: nothing is fetched while it is measured
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
_KINDS = (MODEL, END_TO_END, TOKENISE)


class Child:
    """Start it, give it turns, close it; in a `with` block, so that it never outlives an error."""

    def __init__(self, task: Task, name: str) -> None:
        self.name = name
        self.turns: dict[str, list[Turn]] = {kind: [] for kind in _KINDS}
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        command = [sys.executable, "-m", "mlexport.bench.worker"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | _ENVIRONMENT,
            text=True,
            encoding="utf-8",
        )
        try:
            self.opened = self._ask(task, Opened)
        except BaseException:
            self.kill()
            raise

    def turn(self, kind: str, calls: int, seconds: float) -> None:
        """Let it run; the answer is kept in `turns`."""
        self.turns[kind].append(self._ask(Ask(kind=kind, calls=calls, seconds=seconds), Turn))

    def close(self) -> Closed:
        """End it."""
        closed = self._ask(Ask(kind=MODEL, calls=0, seconds=0), Closed)
        self.kill()
        return closed

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self._stderr.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _ask(self, message: object, kind: type[Answer]) -> Answer:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(to_line(message))
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._ended()
        answer = from_line(line, kind)
        if isinstance(answer, Failed):
            raised = cast("type[MlexportError]", getattr(errors, answer.error, MeasureError))
            raise raised(answer.message)
        return answer

    def _ended(self) -> MeasureError:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", errors="replace").strip().splitlines()
        if code < 0:
            return MeasureError(
                f"the process that ran {self.name} was ended by signal {-code}: is there memory enough?"
            )
        last = lines[-1] if lines else "nothing on its standard error"
        return MeasureError(f"the process that ran {self.name} stopped with exit code {code}: {last}")
