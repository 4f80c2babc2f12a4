"""A folder that transformers' AutoModel and SentenceTransformer load unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from mlexport.artifact import TensorPlan
from mlexport.export.files import copy_text_files, write_json
from mlexport.export.modules import write_modules
from mlexport.model import SubModel

WEIGHTS = "model.safetensors"
# scheme -> dtype of numpy, name in a safetensors header, name in config.json
_DTYPES: dict[str, tuple[DTypeLike, str, str]] = {
    "f32": (np.float32, "F32", "float32"),
    "f16": (np.float16, "F16", "float16"),
    "bf16": (ml_dtypes.bfloat16, "BF16", "bfloat16"),
}
_HEADER_ALIGNMENT = 8


def write(
    sub: SubModel,
    plan: Sequence[TensorPlan],
    folder: Path,
    advance: Callable[[int], None],
    *,
    precision: str | None = None,
) -> str:
    """Write weights, configuration, tokenizer and sentence-transformers modules of a cut.

    Args:
        plan: one row a tensor, scheme f32, f16 or bf16.
        folder: empty folder.
        precision: what to call the file by; None: what most matrices follow.
        advance: called with the bytes of each block written.

    Returns:
        ".": the folder itself is the model.
    """
    _write_weights(sub, plan, folder / WEIGHTS, advance)
    dtype = _DTYPES[plan[0].scheme][2]
    # transformers 5 reads `dtype`, releases before it `torch_dtype`
    config = {**sub.config.raw, "dtype": dtype, "torch_dtype": dtype}
    write_json(folder / "config.json", config)
    copy_text_files(sub, folder)
    write_modules(sub, folder, sub.config.hidden)
    return "."


def _write_weights(sub: SubModel, plan: Sequence[TensorPlan], path: Path, advance: Callable[[int], None]) -> None:
    """Stream the tensors in the layout of safetensors: header length, JSON header, data.

    The library's own writer takes whole tensors in memory; this holds one block of rows.
    Source of the layout: https://huggingface.co/docs/safetensors/index#format
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for row in plan:
        size = prod(row.shape) * np.dtype(_DTYPES[row.scheme][0]).itemsize
        header[row.name] = {
            "dtype": _DTYPES[row.scheme][1],
            "shape": list(row.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for row in plan:
            for block in sub.tensors[row.name].blocks():
                advance(file.write(np.ascontiguousarray(block.astype(_DTYPES[row.scheme][0])).view(np.uint8).data))
