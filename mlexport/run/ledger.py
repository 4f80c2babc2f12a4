"""What a run's folder holds and what it was made from, so that the next run of the same recipe goes on.

A step is noted before its output is made, beside the output that lay there then. After a kill the two differ only
where the new output came to its end: outputs are put in place whole.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mlexport.artifact import sha256
from mlexport.errors import ExportError

RUN_FILE = "run.json"
FORMAT_VERSION = 1


class Ledger:
    """The `made` part of run.json: step -> key of what it depends on, and what lay there before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = _read(folder / RUN_FILE)
        found = data.get("made") if data.get("format_version") == FORMAT_VERSION else None
        self._made: dict[str, Any] = found if isinstance(found, dict) else {}

    def has(self, step: str, key: str, output: Path) -> bool:
        """Whether the output, a file, was made by this step from the same things."""
        entry = self._made.get(step)
        if not isinstance(entry, dict) or entry.get("key") != key or not output.is_file():
            return False
        return bool(sha256(output) != entry.get("before"))

    def begin(self, step: str, key: str, output: Path) -> None:
        """Note that the output is about to be made."""
        before = sha256(output) if output.is_file() else None
        self._made[step] = {"key": key, "before": before}
        self.write({})

    def write(self, content: dict[str, object]) -> None:
        """Replace run.json.

        Raises:
            ExportError: the folder cannot be written.
        """
        data = {"format_version": FORMAT_VERSION, **content, "made": self._made}
        write_whole(self.folder / RUN_FILE, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """A file that is there whole or not at all.

    Raises:
        ExportError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ExportError(f"cannot write {path}: {error.strerror}. Choose another --out") from None


def _read(path: Path) -> dict[str, Any]:
    # A file that is damaged, or of another tool, notes nothing: outputs are then refused as foreign
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
