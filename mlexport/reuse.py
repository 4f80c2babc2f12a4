"""Bytes made from a checkpoint's tensors, kept on the disk for other cuts of it: made once, whoever asks first.

A sweep's cuts share most of their tensors: layer 3 in q8_0 is the same bytes at every depth that has it. The folder may
be shared by several processes; each entry is written beside its place and put there whole, so that a reader finds all
of it or nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlexport.tensors import BLOCK_BYTES, Float32

Array = NDArray[Any]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Kept bytes in a folder.

    Attributes:
        folder: of one checkpoint's; whoever uses it answers for that.
        name: puts tensors of other content apart that have the same name: of a vocabulary slice, of a rank.
    """

    folder: Path
    name: str = ""

    def chunks(self, key: str, make: Callable[[], Iterator[Array]]) -> Iterator[Bytes]:
        """The bytes of a key in blocks, made where nobody has made them before.

        Args:
            make: its arrays in order; their bytes, C order, are what is kept.
        """
        path = self._path(key)
        if not path.exists():
            with _locked(path.with_suffix(".lock")):
                # Another process may have made them while this one waited
                if not path.exists():
                    self._write(path, make)
        if not path.stat().st_size:
            return
        kept = np.memmap(path, dtype=np.uint8, mode="r")
        for start in range(0, len(kept), BLOCK_BYTES):
            yield kept[start : start + BLOCK_BYTES]

    def array(self, key: str, shape: tuple[int, ...], make: Callable[[], Float32]) -> Float32:
        """A float32 array of a key, made where nobody has made it before."""
        parts = list(self.chunks(key, lambda: iter((make(),))))
        return np.concatenate(parts).view(np.float32).reshape(shape)

    def _path(self, key: str) -> Path:
        return self.folder / hashlib.sha256(f"{self.name}\n{key}".encode()).hexdigest()[:32]

    def _write(self, path: Path, make: Callable[[], Iterator[Array]]) -> None:
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                for chunk in make():
                    file.write(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases even after SIGKILL; where there is none, two may make the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl  # noqa: PLC0415

    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
