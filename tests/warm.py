"""Child processes of `mlexport.process` forked from a server that has imported torch and transformers already.

They are processes as before, with the same module, arguments, environment and streams; only the seconds that each took
for its imports are gone. Commands that tests start as a user does import for themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

from mlexport import process

COLD_START = process.start
_PRELOADED = ["numpy", "torch", "safetensors.torch", "transformers.models.qwen3.modeling_qwen3"]


class Child:
    """What `mlexport` uses of a Popen."""

    def __init__(self, forked: ForkServerProcess, stdout: IO[str] | None) -> None:
        self.forked, self.stdout = forked, stdout

    def wait(self, timeout: float | None = None) -> int:
        self.forked.join(timeout)
        if self.forked.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.forked.name), timeout or 0.0)
        return self.forked.exitcode

    def kill(self) -> None:
        self.forked.kill()


def serve() -> None:
    """Start the server; libraries read some of the environment when they are imported."""
    before = os.environ.copy()
    os.environ.update(process._ENVIRONMENT)
    try:
        forkserver.set_forkserver_preload(_PRELOADED)
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def start(module: str, arguments: Sequence[Path | str], work: Path, *, output: int) -> Child:
    """As `mlexport.process.start`."""
    context = multiprocessing.get_context("forkserver")
    reading, writing = os.pipe() if output == subprocess.PIPE else (None, os.open(os.devnull, os.O_WRONLY))
    stderr = os.open(work / process._STDERR, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    streams = _Streams(writing, stderr)
    environment = dict(os.environ | process._ENVIRONMENT)
    forked = context.Process(target=_main, args=(module, list(map(str, arguments)), environment, streams))
    try:
        forked.start()
    finally:
        os.close(writing)
        os.close(stderr)
    return Child(forked, None if reading is None else os.fdopen(reading, encoding="utf-8"))


class _Streams:
    """Two descriptors that a process gets with its arguments."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __getstate__(self) -> list[Any]:
        return [DupFd(number) for number in self.numbers]

    def __setstate__(self, state: list[Any]) -> None:
        self.numbers = tuple(one.detach() for one in state)


def _main(module: str, arguments: list[str], environment: Mapping[str, str], streams: _Streams) -> None:
    for number, stream in zip(streams.numbers, (1, 2), strict=True):
        os.dup2(number, stream)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", buffering=1) for number in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
