"""A child process that runs transformers, or another heavy library: its environment, its progress, its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Passive: threads that spin while they wait would take cores from whatever runs beside
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_WAIT_POLICY": "PASSIVE"}
_STDERR = "stderr"


def start(module: str, arguments: Sequence[Path | str], work: Path, *, output: int) -> subprocess.Popen[str]:
    """`python -m module arguments`, its standard error into a file of `work`; `output` as for Popen's stdout."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with (work / _STDERR).open("wb") as stderr:
        return subprocess.Popen(command, stdout=output, stderr=stderr, env=os.environ | _ENVIRONMENT, text=True)


def run(module: str, arguments: Sequence[Path | str], work: Path, told: Callable[[str], None]) -> int:
    """Run it to its end; its exit code.

    Args:
        told: called with each line of its standard output.
    """
    child = start(module, arguments, work, output=subprocess.PIPE)
    try:
        assert child.stdout is not None
        for line in child.stdout:
            told(line.strip())
        return child.wait()
    finally:
        # An interrupted run must not leave it working
        child.kill()
        child.wait()


def last_words(work: Path) -> str:
    """The last line of its standard error."""
    lines = (work / _STDERR).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing on its standard error"
