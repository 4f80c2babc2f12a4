"""Tensors of `torch.save` files, read without torch and without running what a pickle names.

Since torch 1.6 such a file is a zip archive: `<name>/data.pkl` tells how tensors are rebuilt from the numbers that
lie, uncompressed, in `<name>/data/<key>`.
Layout: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mlexport.errors import CheckpointError
from mlexport.tensors import Float32, LazyTensor
from mlexport.unpickle import PickledTensor, RefusedError, describe_tensor, shown
from mlexport.weights import check_finite, read_bytes, widen

# dtype of the stored bytes
_DTYPES: dict[str, np.dtype[Any]] = {"bf16": np.dtype("<u2"), "f16": np.dtype("<f2"), "f32": np.dtype("<f4")}
# A pickle of one tensor has a few hundred bytes
_PICKLE_LIMIT_BYTES = 2**20
# A local header: signature, and the lengths of the name and the extra field between it and the data (APPNOTE.TXT 4.3.7)
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_SIGNATURE = b"PK\x03\x04"
# What zipfile raises for one damage or another, beside BadZipFile
_ZIP_ERRORS = (ValueError, EOFError, NotImplementedError, RuntimeError, OverflowError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Archive:
    """A file of torch.save: its size, its directory by entry name, and the folder in it with its slash."""

    path: Path
    size: int
    entries: dict[str, zipfile.ZipInfo]
    root: str

    def place(self, name: str) -> tuple[int, int]:
        """Where an entry's data begins in the file, and its bytes."""
        path, entry = self.path, self.entries.get(self.root + name)
        if entry is None:
            raise CheckpointError(f"{path} is damaged: it has no entry {shown(name)}. Download it again")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise CheckpointError(f"{path} is compressed, which torch.save does not do. Save it again")
        begin = entry.header_offset + _LOCAL_HEADER.size
        if entry.header_offset >= 0 and begin <= self.size:
            signature, *lengths = _LOCAL_HEADER.unpack(read_bytes(path, entry.header_offset, _LOCAL_HEADER.size))
            begin += sum(lengths)
            if signature == _SIGNATURE and begin + entry.file_size <= self.size:
                return begin, entry.file_size
        raise CheckpointError(f"{path} is damaged: entry {shown(name)} does not lie where it should. Download it again")


def open_pickled_tensor(path: Path, name: str) -> LazyTensor:
    """The matrix in a `torch.save` file; its rows are read when asked for.

    Args:
        path: file that holds one tensor or parameter of two axes, alone or as the only value of a dict.
        name: name that the tensor gets.

    Returns:
        A tensor of shape (rows, columns), stored "bf16", "f16" or "f32". Each read opens the file.

    Raises:
        CheckpointError: missing or damaged, another layout or dtype, or a pickle that names something to run.
    """
    archive = _open(path)
    if f"{archive.root}byteorder" in archive.entries:
        begin, size = archive.place("byteorder")
        if read_bytes(path, begin, min(size, len("little") + 1)) != b"little":
            raise CheckpointError(f"{path} was saved on a big-endian machine: save it again on a little-endian one")
    begin, size = archive.place("data.pkl")
    if size > _PICKLE_LIMIT_BYTES:
        raise CheckpointError(f"{path}: its pickle has {size:,} bytes, one tensor needs a few hundred. Save it alone")
    try:
        tensor = describe_tensor(bytes(read_bytes(path, begin, size)))
    except RefusedError as refused:
        raise CheckpointError(f"{path} {refused}") from None
    return _lazy(path, name, tensor, archive.place(f"data/{tensor.key}"))


def _open(path: Path) -> _Archive:
    try:
        with path.open("rb") as file:
            if file.read(1) == b"\x80":
                raise CheckpointError(f"{path} was saved by torch before 1.6. Save it again with a later torch.save")
            size = file.seek(0, 2)
            with zipfile.ZipFile(file) as archive:
                entries = {entry.filename: entry for entry in archive.infolist()}
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: not a complete checkpoint. Download it again") from None
    except zipfile.BadZipFile:
        raise CheckpointError(
            f"{path} is truncated, or no file of torch.save since torch 1.6. Download it again, or save it again"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except _ZIP_ERRORS as error:
        raise CheckpointError(f"{path} is damaged: {shown(str(error))}. Download it again") from None
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise CheckpointError(
            f"{path} is no file of torch.save: {len(roots)} data.pkl in it, expected 1. Save it again"
        )
    return _Archive(path=path, size=size, entries=entries, root=roots[0])


def _lazy(path: Path, name: str, tensor: PickledTensor, place: tuple[int, int]) -> LazyTensor:
    """Rows read on demand; `place` is where the storage begins in the file, and its bytes."""
    begin, size = place
    raw = _DTYPES[tensor.stored]
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise CheckpointError(f"{path} holds a tensor of {len(tensor.shape)} axes, or an empty one: expected a matrix")
    rows, columns = tensor.shape
    # The step along an axis of length 1 is never taken: torch may write any
    if (tensor.stride[0] != columns and rows > 1) or (tensor.stride[1] != 1 and columns > 1):
        raise CheckpointError(
            f"{path} is stored transposed or in pieces: save it with torch.save(x.contiguous(), path)"
        )
    if (tensor.offset + prod(tensor.shape)) * raw.itemsize > size:
        raise CheckpointError(f"{path} is damaged: {size:,} bytes are too few for its shape. Download it again")
    first = begin + tensor.offset * raw.itemsize

    def read_rows(start: int, stop: int) -> Float32:
        row = columns * raw.itemsize
        block = read_bytes(path, first + start * row, (stop - start) * row)
        values = widen(np.frombuffer(block, dtype=raw), tensor.stored).reshape(stop - start, columns)
        check_finite(values, str(path), start)
        return values

    return LazyTensor(name=name, shape=(rows, columns), stored=tensor.stored, read_rows=read_rows)
