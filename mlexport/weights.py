"""safetensors files, read a block of rows at a time.

The library maps whole files, which a resident-memory limit counts, and its numpy side knows no bfloat16:
the header is parsed here and rows are read from where it says that they lie.
Layout: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mlexport.errors import CheckpointError
from mlexport.tensors import Float32, LazyTensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# dtype of a header -> our name, dtype of the stored bytes
_DTYPES: Mapping[str, tuple[str, np.dtype[Any]]] = {
    "BF16": ("bf16", np.dtype("<u2")),
    "F16": ("f16", np.dtype("<f2")),
    "F32": ("f32", np.dtype("<f4")),
}
# The library's own limit
_HEADER_LIMIT_BYTES = 100_000_000
_OTHER_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def open_weights(folder: Path) -> dict[str, LazyTensor]:
    """Every tensor of a folder's safetensors file or files, by its name there; nothing of a tensor is read.

    Raises:
        CheckpointError: no such file, a shard is missing, or a file is damaged or truncated.
    """
    if not (folder / INDEX).is_file():
        if not (folder / SINGLE).is_file():
            raise CheckpointError(_no_weights(folder))
        return _open_file(folder / SINGLE)
    places = _read_index(folder / INDEX)
    tensors: dict[str, LazyTensor] = {}
    for name in sorted(set(places.values())):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing: {INDEX} names it. Download it again")
        tensors |= _open_file(folder / name)
    for tensor, name in places.items():
        if tensor not in tensors:
            raise CheckpointError(f"{folder / name} does not hold '{tensor}', which {INDEX} says. Download both again")
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        CheckpointError: it is missing, unreadable, or something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: not a complete checkpoint. Download it again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is not a JSON object")
    return data


def _no_weights(folder: Path) -> str:
    if any((folder / name).exists() for name in _OTHER_WEIGHTS):
        return f"{folder} holds its weights as pickles only: save it again with safetensors (save_pretrained does)"
    return f"{folder / SINGLE} is missing, and so is {INDEX}: not a complete checkpoint"


def _read_index(path: Path) -> Mapping[str, str]:
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{path} has no weight_map of tensor to file")
    for name in places.values():
        # A plain name: an index must not lead out of its folder
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise CheckpointError(f"{path} names '{name}', which is not a safetensors file beside it")
    return places


def _open_file(path: Path) -> dict[str, LazyTensor]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _HEADER_LIMIT_BYTES):
                raise CheckpointError(f"{path} is truncated or no safetensors file ({size:,} bytes). Download it again")
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has no header of tensors. Download it again")
    header.pop("__metadata__", None)
    return {name: _tensor(path, name, entry, (8 + length, size)) for name, entry in header.items()}


def _tensor(path: Path, name: str, entry: object, bounds: tuple[int, int]) -> LazyTensor:
    """A tensor of a header entry; `bounds` are where the data begins and where the file ends."""
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])  # type: ignore[index]
        begin, end = entry["data_offsets"]  # type: ignore[index]
        whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        whole = False
    if not whole:
        raise CheckpointError(f"{path}: the header's entry of '{name}' is damaged. Download it again")
    if dtype not in _DTYPES:
        raise CheckpointError(f"{path}: '{name}' is stored as {dtype}, expected one of {', '.join(_DTYPES)}")
    stored, raw = _DTYPES[dtype]
    data, size = bounds
    if end - begin != prod(shape) * raw.itemsize:
        raise CheckpointError(f"{path}: '{name}' has {end - begin} bytes for the shape {list(shape)} of {dtype}")
    if data + end > size:
        raise CheckpointError(
            f"{path} is truncated: '{name}' ends at byte {data + end:,} of {size:,}. Download it again"
        )
    if len(shape) not in (1, 2):
        raise CheckpointError(f"{path}: '{name}' has {len(shape)} axes; a Qwen3 encoder has tensors of one or two")

    def read_rows(start: int, stop: int) -> Float32:
        row = prod(shape[1:]) * raw.itemsize
        block = read_bytes(path, data + begin + start * row, (stop - start) * row)
        values = widen(np.frombuffer(block, dtype=raw), stored).reshape(stop - start, *shape[1:])
        check_finite(values, f"{path}: '{name}'", start)
        return values

    return LazyTensor(name=name, shape=shape, stored=stored, read_rows=read_rows)


def read_bytes(path: Path, offset: int, count: int) -> bytearray:
    """So many bytes of a file; a library that maps it would count against resident memory.

    Raises:
        CheckpointError: it cannot be read, or ends before.
    """
    block = bytearray(count)
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            view, done = memoryview(block), 0
            # One read returns at most 2 GiB
            while done < count and (got := file.readinto(view[done:])):
                done += got
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if done < count:
        raise CheckpointError(f"{path} became shorter while it was read")
    return block


def widen(raw: np.ndarray[Any, Any], stored: str) -> Float32:
    """Stored numbers as float32: bf16 given as its bits (uint16), f16 and f32 as themselves."""
    if stored == "bf16":
        # A bfloat16 is the upper half of a float32
        wide = raw.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return raw.astype(np.float32, copy=False)


def check_finite(values: Float32, what: str, first_row: int) -> None:
    """Refuse NaN and infinite numbers: every vector would be NaN.

    Raises:
        CheckpointError: there is one; the message names its row.
    """
    finite = np.isfinite(values)
    if not finite.all():
        row = first_row + int(np.argwhere(~finite)[0][0])
        raise CheckpointError(f"{what} holds a number that is NaN or infinite, first in row {row}: damaged weights")
