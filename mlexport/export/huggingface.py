"""A folder that transformers' AutoModel and SentenceTransformer load unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from mlexport.artifact import TensorPlan
from mlexport.export.files import copy_text_files
from mlexport.model import SubModel

WEIGHTS = "model.safetensors"
# scheme -> dtype of numpy, name in a safetensors header, name in config.json
_DTYPES: dict[str, tuple[DTypeLike, str, str]] = {
    "f32": (np.float32, "F32", "float32"),
    "f16": (np.float16, "F16", "float16"),
    "bf16": (ml_dtypes.bfloat16, "BF16", "bfloat16"),
}
_HEADER_ALIGNMENT = 8


def write(sub: SubModel, plan: Sequence[TensorPlan], folder: Path, advance: Callable[[int], None]) -> str:
    """Write weights, configuration, tokenizer and sentence-transformers modules of a cut.

    Args:
        plan: one row a tensor, scheme f32, f16 or bf16.
        folder: empty folder.
        advance: called with the bytes of each block written.

    Returns:
        ".": the folder itself is the model.
    """
    _write_weights(sub, plan, folder / WEIGHTS, advance)
    dtype = _DTYPES[plan[0].scheme][2]
    # transformers 5 reads `dtype`, releases before it `torch_dtype`
    config = {**sub.config.raw, "dtype": dtype, "torch_dtype": dtype}
    _write_json(folder / "config.json", config)
    copy_text_files(sub, folder)
    _write_modules(sub, folder)
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


def _write_modules(sub: SubModel, folder: Path) -> None:
    """Last-token pooling, the dim cut as a linear layer (the first rows of the identity), normalisation."""
    hidden, dim = sub.config.hidden, sub.spec.dim
    modules = ["Transformer", "Pooling"] + (["Dense"] if dim < hidden else []) + ["Normalize"]
    listed = []
    for number, name in enumerate(modules):
        path = "" if number == 0 else f"{number}_{name}"
        (folder / path).mkdir(exist_ok=True)
        # These import paths load in sentence-transformers 2 to 6
        listed.append(
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        )
    _write_json(folder / "modules.json", listed)
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_lasttoken": True, "include_prompt": True}
    _write_json(folder / "1_Pooling" / "config.json", pooling | dict.fromkeys(_OTHER_POOLING, False))
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": sub.checkpoint.text.max_length, "do_lower_case": False},
    )
    if dim < hidden:
        _write_dense(folder / "2_Dense", hidden, dim)


_OTHER_POOLING = tuple(
    f"pooling_mode_{mode}"
    for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
)


def _write_dense(folder: Path, hidden: int, dim: int) -> None:
    """sentence-transformers has no module that truncates; its Dense with an identity weight does it exactly."""
    from safetensors.numpy import save_file  # noqa: PLC0415

    config = {
        "in_features": hidden,
        "out_features": dim,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    _write_json(folder / "config.json", config)
    save_file({"linear.weight": np.eye(dim, hidden, dtype=np.float32)}, folder / "model.safetensors")


def _write_json(path: Path, content: Mapping[str, object] | Sequence[object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
