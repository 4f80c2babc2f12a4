"""Reference vectors kept between runs, in the user's cache folder; safe to delete at any time.

An entry is found by what it depends on: the contents of the checkpoint's files, every text with its prompt, the limits
of a text, the versions of the libraries and the reference's own source. What changes any of them is another entry.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mlexport.artifact import sha256
from mlexport.model import Checkpoint
from mlexport.tensors import Float32

# Above this the entries that were used least lately are removed
LIMIT_BYTES = 2 * 2**30
_LIBRARIES = ("mlexport", "numpy", "safetensors", "tokenizers", "torch", "transformers")
_SOURCES = ("reference.py", "reference_corpus.py")
# What transformers reads of a checkpoint's folder
_READ = ("*.json", "*.txt", "*.safetensors")

Key = Mapping[str, object]


def cache_folder() -> Path:
    """Where entries lie: MLEXPORT_CACHE, else the system's place for a user's caches."""
    own = os.environ.get("MLEXPORT_CACHE")
    if own:
        return Path(own) / "reference"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mlexport" / "reference"


def entry_key(checkpoint: Checkpoint, texts: Sequence[str]) -> Key:
    """Everything that the vectors depend on."""
    package = Path(__file__).parents[1]
    files = sorted({path for pattern in _READ for path in checkpoint.folder.glob(pattern)})
    return {
        "checkpoint": {path.name: sha256(path) for path in files},
        "texts": hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest(),
        "count": len(texts),
        "end_id": checkpoint.text.end_id,
        "max_length": checkpoint.text.max_length,
        "versions": {name: version(name) for name in _LIBRARIES},
        "source": {name: sha256(package / name) for name in _SOURCES},
    }


def read_entry(folder: Path, key: Key) -> Float32 | None:
    """The vectors of a key, float32 [texts, hidden]; None where there are none, or the file is damaged."""
    path = _path(folder, key)
    try:
        with np.load(path, allow_pickle=False) as found:
            same = str(found["key"]) == _text(key)
            vectors: Float32 = found["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if not same or vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != key["count"]:
        return None
    with suppress(OSError):
        path.touch()
    return vectors


def write_entry(folder: Path, key: Key, vectors: Float32) -> bool:
    """Keep vectors, whole or not at all; whether that was possible."""
    path = _path(folder, key)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, vectors=vectors, key=np.array(_text(key)))
        partial.replace(path)
        _make_room(folder, path)
    except OSError:
        # A full disk or a read-only home must not cost the result
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        return False
    return True


def _make_room(folder: Path, newest: Path) -> None:
    entries = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in entries:
        total += path.stat().st_size
        if total > LIMIT_BYTES and path != newest:
            path.unlink(missing_ok=True)


def _path(folder: Path, key: Key) -> Path:
    return folder / f"{hashlib.sha256(_text(key).encode()).hexdigest()[:32]}.npz"


def _text(key: Key) -> str:
    return json.dumps(key, sort_keys=True)
