"""What quantising costs the token table, row by row: its error goes into every text that has the token."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from mlexport.artifact import TensorPlan
from mlexport.facts import TableError
from mlexport.model import TABLE, TABLE_LEFT, SubModel
from mlexport.quantize.blocks import block_rows, int8_rows, restored_rows, row_errors
from mlexport.quantize.ggml import GGML_TYPES, packer
from mlexport.quantize.graph_plan import GRAPH_SCHEMES
from mlexport.quantize.plan import BLOCKS
from mlexport.spec import Target
from mlexport.tensors import Float32

_EXACT = ("f32",)


def table_error(sub: SubModel, target: Target, plan: tuple[TensorPlan, ...]) -> TableError | None:
    """|stored row - row| / |row| over the table's rows; None where the table is stored in f32.

    For a rank cut that keeps its two factors, the rows are those of the left one, which is looked up.

    Args:
        plan: the artifact's; its row of the table has the scheme.
    """
    row = next(row for row in plan if row.name in (TABLE, TABLE_LEFT))
    if row.scheme in _EXACT:
        return None
    tensor = sub.tensors[TABLE] if row.name == TABLE or sub.factors is None else sub.factors[0]
    restore = round_trip(target, row.scheme)
    errors = np.concatenate([row_errors(block, restore(block)) for block in tensor.blocks()])
    return TableError(mean=float(errors.mean()), max=float(errors.max()), worst_token=int(errors.argmax()))


def round_trip(target: Target, scheme: str) -> Callable[[Float32], Float32]:
    """The function that packs float32 [rows, columns] in a scheme and restores them."""
    if scheme == "f32":
        return lambda rows: rows
    if scheme == "f16":
        return lambda rows: rows.astype(np.float16).astype(np.float32)
    if target is Target.GGUF or scheme == "bf16":
        return _through_ggml(scheme)
    kind = GRAPH_SCHEMES[scheme]
    return _through_rows if kind.block is None else partial(_through_blocks, kind.bits, kind.block)


def _through_rows(rows: Float32) -> Float32:
    stored, scales = int8_rows(rows)
    return stored * scales[:, None]


def _through_blocks(bits: int, block: int, rows: Float32) -> Float32:
    stored, scales = block_rows(rows, bits, block)
    # The file keeps a table's scales in f16
    return restored_rows(stored, scales.astype(np.float16).astype(np.float32), bits, rows.shape[1])


def _through_ggml(scheme: str) -> Callable[[Float32], Float32]:
    from gguf import GGMLQuantizationType, dequantize  # noqa: PLC0415

    pack, kind = packer(scheme), GGMLQuantizationType(GGML_TYPES[scheme])
    numbers, size = BLOCKS[scheme]

    def round_trip(rows: Float32) -> Float32:
        packed = pack(rows).reshape(rows.shape[0], rows.shape[1] // numbers * size)
        restored: Float32 = dequantize(packed, kind)
        return restored

    return round_trip
