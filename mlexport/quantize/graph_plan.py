"""The plan of target onnx: which scheme each tensor of the graph gets, and its exact bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from mlexport.artifact import TensorPlan
from mlexport.model import FINAL_NORM, TABLE, TABLE_LEFT, TABLE_RIGHT, SubModel
from mlexport.quantize.blocks import BLOCK
from mlexport.tensors import LazyTensor

# precision -> scheme of a looked-up table. A table's error goes into every token, and 4 bits cost it the most
_TABLE_SCHEMES = {"f32": "f32", "f16": "f16", "int8": "int8_b32", "int8_b32": "int8_b32", "int4_b32": "int8_b32"}
_FLOAT_BYTES = {"f32": 4, "f16": 2}
_BLOCK_BITS = {"int8_b32": 8, "int4_b32": 4}
# A scale is f32 beside a matrix (MatMulNBits), f16 beside a table
_MATRIX_SCALE_BYTES, _TABLE_SCALE_BYTES = 4, 2


def plan_onnx(sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    """One row a tensor of the graph: a rank cut's table stays two factors."""
    rows = list(_table_rows(sub, precision, table_precision))
    for name, tensor in sub.tensors.items():
        if name == TABLE:
            continue
        if name == FINAL_NORM:
            stored = replace(tensor, shape=(sub.spec.dim,))
            rows.append(_row(stored, name, "f32", "norm: kept in f32, as far as the vector reaches"))
        elif len(tensor.shape) == 1:
            rows.append(_row(tensor, name, "f32", "norm: kept in f32"))
        else:
            rows.append(_row(tensor, name, precision, f"precision {precision}"))
    return tuple(rows)


def _table_rows(sub: SubModel, precision: str, table_precision: str | None) -> Iterator[TensorPlan]:
    scheme, reason = _TABLE_SCHEMES[precision], f"precision {precision}"
    if table_precision is not None:
        # int8 rows with one scale are no better than blocks, and no smaller by much
        scheme = "int8_b32" if table_precision == "int8" else table_precision
        reason = f"--table-precision {table_precision}"
    elif scheme != precision:
        reason = f"precision {precision}: a table keeps 8 bits, in blocks"
    if sub.factors is None:
        yield _row(sub.tensors[TABLE], TABLE, scheme, reason)
        return
    left, right = sub.factors
    yield _row(left, TABLE_LEFT, scheme, f"{reason}; looked up")
    kept = "f16" if precision == "f16" else "f32"
    yield _row(right, TABLE_RIGHT, kept, f"small: kept in {kept}")


def _row(tensor: LazyTensor, name: str, scheme: str, reason: str) -> TensorPlan:
    scale = _TABLE_SCALE_BYTES if name in (TABLE, TABLE_LEFT) else _MATRIX_SCALE_BYTES
    size = _bytes(tensor.shape, scheme, scale)
    return TensorPlan(name=name, shape=tensor.shape, scheme=scheme, bytes=size, reason=reason)


def _bytes(shape: tuple[int, ...], scheme: str, scale_bytes: int) -> int:
    if scheme in _FLOAT_BYTES:
        return prod(shape) * _FLOAT_BYTES[scheme]
    rows, columns = shape
    if scheme == "int8":
        return rows * columns + rows * _MATRIX_SCALE_BYTES
    blocks = rows * -(-columns // BLOCK)
    return blocks * (BLOCK * _BLOCK_BITS[scheme] // 8 + scale_bytes)
