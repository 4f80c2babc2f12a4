"""Vectors to files: .npy, .json, or JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mlexport.errors import ExportError, UsageError
from mlexport.tensors import StoredArray

_SUFFIXES = (".npy", ".json", ".jsonl")


def check(path: Path, *, force: bool) -> None:
    """Refuse an output file before any work is done for it.

    Raises:
        UsageError: a suffix that names no known form.
        ExportError: it exists and `force` is not given, or is a folder.
    """
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"--out {path}: the name must end in {', '.join(_SUFFIXES)}, or be -")
    if path.is_dir():
        raise ExportError(f"{path} is a folder: choose another --out")
    if path.exists() and not force:
        raise ExportError(f"{path} exists: choose another --out, or pass --force to replace it")


def write(path: Path, texts: Sequence[str], vectors: StoredArray) -> None:
    """Write texts and vectors [texts, dim] in the form that the file's suffix names, whole or not at all.

    Raises:
        ExportError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            if path.suffix == ".npy":
                np.save(file, vectors)
            elif path.suffix == ".json":
                file.write((json.dumps(document(texts, vectors), ensure_ascii=False) + "\n").encode())
            else:
                file.writelines((line + "\n").encode() for line in lines(texts, vectors))
        partial.replace(path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}. Choose another --out") from None
    finally:
        partial.unlink(missing_ok=True)


def document(texts: Sequence[str], vectors: StoredArray) -> Mapping[str, object]:
    """All of them as one JSON object."""
    return {"embeddings": [_row(text, vector) for text, vector in zip(texts, vectors, strict=True)]}


def lines(texts: Sequence[str], vectors: StoredArray) -> Iterator[str]:
    """One JSON object a text."""
    return (json.dumps(_row(text, vector), ensure_ascii=False) for text, vector in zip(texts, vectors, strict=True))


def _row(text: str, vector: StoredArray) -> Mapping[str, object]:
    # Nine digits give every float32 back; float() would print its double's seventeen
    numbers = vector.tolist()
    return {"text": text, "embedding": [float(f"{n:.9g}") if isinstance(n, float) else n for n in numbers]}
