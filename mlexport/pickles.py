"""Tensors of `torch.save` files, read without torch and without running what a pickle names.

Since torch 1.6 such a file is a zip archive: `<name>/data.pkl` tells how tensors are rebuilt from the numbers that
lie, uncompressed, in `<name>/data/<key>`. A pickle may name any function of any module; here four names are known,
each stands for data, and every other name is an error.
Layout: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mlexport.errors import CheckpointError
from mlexport.tensors import Float32, LazyTensor
from mlexport.weights import check_finite, read_bytes, widen

# storage class of torch -> our name, dtype of the stored bytes
_STORAGES: dict[str, tuple[str, np.dtype[Any]]] = {
    "BFloat16Storage": ("bf16", np.dtype("<u2")),
    "HalfStorage": ("f16", np.dtype("<f2")),
    "FloatStorage": ("f32", np.dtype("<f4")),
}
# A pickle of one tensor has a few hundred bytes
_PICKLE_LIMIT_BYTES = 2**20
# Name and extra field lie between a zip entry's local header, of this length, and its data (APPNOTE.TXT 4.3.7)
_LOCAL_HEADER_BYTES = 30


@dataclass(frozen=True, slots=True)
class _Storage:
    """Numbers in the archive: kind as in _STORAGES, entry `data/<key>`."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view on a storage, in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _RefusedError(Exception):
    """What a pickle asked for and does not get."""


def open_pickled_tensor(path: Path, name: str) -> LazyTensor:
    """The matrix in a `torch.save` file; its rows are read when asked for.

    Raises:
        CheckpointError: missing or damaged, another layout or dtype, or a pickle that names something to run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tensor = _unpickle(archive, path)
            entry = archive.getinfo(f"{_root(archive)}data/{tensor.storage.key}")
            begin = _data_offset(entry, path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: not a complete checkpoint. Download it again") from None
    except zipfile.BadZipFile:
        raise CheckpointError(
            f"{path} is truncated, or no file of torch.save since torch 1.6. Download it again, or save it again"
        ) from None
    except (OSError, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged: {' '.join(str(error).split())}. Download it again") from None
    return _lazy(path, name, tensor, (begin, entry.file_size))


def _unpickle(archive: zipfile.ZipFile, path: Path) -> _Tensor:
    entry = archive.getinfo(f"{_root(archive)}data.pkl")
    if entry.file_size > _PICKLE_LIMIT_BYTES:
        raise CheckpointError(f"{path}: its pickle has {entry.file_size:,} bytes, one tensor needs a few hundred")
    if f"{_root(archive)}byteorder" in archive.namelist() and archive.read(f"{_root(archive)}byteorder") != b"little":
        raise CheckpointError(f"{path} was saved on a big-endian machine: save it again on a little-endian one")
    with archive.open(entry) as file:
        try:
            found = _Reader(file).load()
        except _RefusedError as refused:
            raise CheckpointError(
                f"{path} names {refused}, which a tensor needs not: nothing of it was run. Do not trust this checkpoint"
            ) from None
        except (
            pickle.UnpicklingError,
            AttributeError,
            EOFError,
            IndexError,
            KeyError,
            MemoryError,
            OverflowError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise CheckpointError(f"{path} is damaged: its pickle cannot be read ({type(error).__name__})") from None
    if isinstance(found, dict) and len(found) == 1:
        [found] = found.values()
    if not isinstance(found, _Tensor):
        raise CheckpointError(f"{path} does not hold one tensor. Save it with torch.save(tensor, path)")
    return found


class _Reader(pickle.Unpickler):
    """An unpickler for which only the names of a saved tensor exist."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., object]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if module == "torch" and name.endswith("Storage"):
            return name
        if (module, name) not in known:
            raise _RefusedError(f"{module}.{name}")
        return known[module, name]

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, storage, key = identifier[:3]
        if kind != "storage" or not isinstance(storage, str) or not isinstance(key, str):
            raise pickle.UnpicklingError("persistent id")
        return _Storage(storage, key)


def _rebuild_tensor(storage: object, offset: object, shape: object, stride: object, *_: object) -> _Tensor:
    numbers = (offset, *shape, *stride) if isinstance(shape, tuple) and isinstance(stride, tuple) else (None,)
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("tensor")
    return _Tensor(storage, offset, shape, stride)  # type: ignore[arg-type]


def _rebuild_parameter(data: object, *_: object) -> object:
    return data


def _root(archive: zipfile.ZipFile) -> str:
    """The archive's one folder: the file's name when it was saved."""
    return archive.namelist()[0].partition("/")[0] + "/" if archive.namelist() else ""


def _data_offset(entry: zipfile.ZipInfo, path: Path) -> int:
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise CheckpointError(f"{path} is compressed, which torch.save does not do. Save it again")
    header = read_bytes(path, entry.header_offset, _LOCAL_HEADER_BYTES)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return entry.header_offset + _LOCAL_HEADER_BYTES + lengths


def _lazy(path: Path, name: str, tensor: _Tensor, place: tuple[int, int]) -> LazyTensor:
    """Rows read on demand; `place` is where the storage begins in the file, and its bytes."""
    begin, size = place
    if tensor.storage.kind not in _STORAGES:
        known = ", ".join(kind for kind, _ in _STORAGES.values())
        raise CheckpointError(f"{path} holds a {tensor.storage.kind}, expected numbers in {known}")
    stored, raw = _STORAGES[tensor.storage.kind]
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise CheckpointError(f"{path} has the shape {list(tensor.shape)}, expected a matrix")
    columns = tensor.shape[1]
    if tensor.stride != (columns, 1):
        raise CheckpointError(
            f"{path} is stored transposed or in pieces: save it with torch.save(x.contiguous(), path)"
        )
    if (tensor.offset + prod(tensor.shape)) * raw.itemsize > size:
        raise CheckpointError(
            f"{path} is damaged: {size:,} bytes for the shape {list(tensor.shape)}. Download it again"
        )
    first = begin + tensor.offset * raw.itemsize

    def read_rows(start: int, stop: int) -> Float32:
        row = columns * raw.itemsize
        block = read_bytes(path, first + start * row, (stop - start) * row)
        values = widen(np.frombuffer(block, dtype=raw), stored).reshape(stop - start, columns)
        check_finite(values, str(path), start)
        return values

    return LazyTensor(name=name, shape=tensor.shape, stored=stored, read_rows=read_rows)
