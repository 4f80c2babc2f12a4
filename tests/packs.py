"""What the tests of packs share: texts, and programs that are run as an app's developer runs them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlexport.probes import PROBES, over_long

# As far as vectors of another runtime may be from Python's
COSINE = 0.9999
# Longest text of the tiny models here
LONGEST = 64
TEXTS = [probe.text for probe in PROBES] + [over_long(LONGEST).text]
MODULES = Path(__file__).parents[1] / ".venv" / "node" / "node_modules"


def node_modules() -> Path:
    """Where `make node` put the packages."""
    assert (MODULES / "onnxruntime-web").is_dir(), "no npm packages: run `make node` (it needs Node.js 20 and npm)"
    return MODULES


def chromium() -> str:
    """The system's browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "no Chromium: run `make system`"
    return found


def run(folder: Path, *command: str, text: str = "") -> str:
    """Standard output of a command in a pack's folder."""
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def served(*command: str, folder: Path) -> Iterator[str]:
    """The first line that a server prints: its address; the server is stopped at the end."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, encoding="utf-8") as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
