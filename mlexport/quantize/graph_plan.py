"""The plans of the targets made from the ONNX graph: which scheme each tensor of it gets, and its exact bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from mlexport.artifact import TensorPlan
from mlexport.model import FINAL_NORM, TABLE, TABLE_LEFT, TABLE_RIGHT, SubModel
from mlexport.quantize.blocks import BLOCK
from mlexport.tensors import LazyTensor

_FLOAT_BYTES = {"f32": 4, "f16": 2}
BITS = {"int8": 8, "int8_sym": 8, "int4_sym": 4, "int8_b32": 8, "int4_b32": 4}
_ONE_SCALE_A_ROW = ("int8", "int8_sym")
_TABLE_SCALE_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one target makes of a precision.

    Attributes:
        tables: precision -> scheme of a looked-up table. A table's error goes into every token, and 4 bits cost it
            the most.
        own_tables: the same where --table-precision names it; others are schemes as they are. int8 rows with one
            scale are no better than blocks, and no smaller by much.
        small: precision -> scheme of a rank cut's right factor; f32 for others.
        matrix_scale_bytes: bytes of a scale beside a matrix.
        narrow: int4 schemes whose blocks must divide the columns -> what a matrix gets where they do not.
    """

    tables: Mapping[str, str]
    own_tables: Mapping[str, str]
    small: Mapping[str, str]
    matrix_scale_bytes: int
    narrow: Mapping[str, str]


# MatMulNBits takes scales in f32
_ONNX = Rules(
    tables={"f32": "f32", "f16": "f16", "int8": "int8_b32", "int8_b32": "int8_b32", "int4_b32": "int8_b32"},
    own_tables={"int8": "int8_b32"},
    small={"f16": "f16"},
    matrix_scale_bytes=4,
    narrow={},
)
# Groups of 32: demo's L8-R128-D128 in int4 has mean cosine .981 with them, .967 with 64 and .945 with 128,
# for 4.7, 4.5 and 4.5 MB
_OPENVINO = Rules(
    tables={"f32": "f32", "f16": "f16", "int8_sym": "int8_b32", "int4_sym": "int8_b32"},
    own_tables={"int8_sym": "int8_b32", "int4_sym": "int4_b32"},
    small={"f16": "f16", "int8_sym": "f16", "int4_sym": "f16"},
    matrix_scale_bytes=2,
    narrow={"int4_sym": "int8_sym"},
)


def plan_onnx(sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    """One row a tensor of the graph: a rank cut's table stays two factors."""
    return _plan(_ONNX, sub, precision, table_precision)


def plan_openvino(sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    """The same for OpenVINO IR, whose .bin file has these bytes and the graph's own constants."""
    return _plan(_OPENVINO, sub, precision, table_precision)


def _plan(rules: Rules, sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    rows = list(_table_rows(rules, sub, precision, table_precision))
    for name, tensor in sub.tensors.items():
        if name == TABLE:
            continue
        if name == FINAL_NORM:
            stored = replace(tensor, shape=(sub.spec.dim,))
            rows.append(_row(rules, stored, name, "f32", "norm: kept in f32, as far as the vector reaches"))
        elif len(tensor.shape) == 1:
            rows.append(_row(rules, tensor, name, "f32", "norm: kept in f32"))
        else:
            rows.append(_matrix_row(rules, tensor, name, precision))
    return tuple(rows)


def _matrix_row(rules: Rules, tensor: LazyTensor, name: str, precision: str) -> TensorPlan:
    columns = tensor.shape[1]
    if precision in rules.narrow and columns % BLOCK:
        scheme = rules.narrow[precision]
        reason = f"precision {precision}; rows of {columns} are no multiple of {BLOCK}: {scheme}"
        return _row(rules, tensor, name, scheme, reason)
    return _row(rules, tensor, name, precision, f"precision {precision}")


def _table_rows(rules: Rules, sub: SubModel, precision: str, table_precision: str | None) -> Iterator[TensorPlan]:
    scheme, reason = rules.tables[precision], f"precision {precision}"
    if table_precision is not None:
        scheme = rules.own_tables.get(table_precision, table_precision)
        reason = f"--table-precision {table_precision}"
    elif scheme != precision:
        reason = f"precision {precision}: a table keeps 8 bits, in blocks"
    if sub.factors is None:
        yield _row(rules, sub.tensors[TABLE], TABLE, scheme, reason)
        return
    left, right = sub.factors
    yield _row(rules, left, TABLE_LEFT, scheme, f"{reason}; looked up")
    kept = rules.small.get(precision, "f32")
    yield _row(rules, right, TABLE_RIGHT, kept, f"small: kept in {kept}")


def _row(rules: Rules, tensor: LazyTensor, name: str, scheme: str, reason: str) -> TensorPlan:
    scale = _TABLE_SCALE_BYTES if name in (TABLE, TABLE_LEFT) else rules.matrix_scale_bytes
    size = _bytes(tensor.shape, scheme, scale)
    return TensorPlan(name=name, shape=tensor.shape, scheme=scheme, bytes=size, reason=reason)


def _bytes(shape: tuple[int, ...], scheme: str, scale_bytes: int) -> int:
    if scheme in _FLOAT_BYTES:
        return prod(shape) * _FLOAT_BYTES[scheme]
    rows, columns = shape
    if scheme in _ONE_SCALE_A_ROW:
        return rows * columns + rows * scale_bytes
    blocks = rows * -(-columns // BLOCK)
    return blocks * (BLOCK * BITS[scheme] // 8 + scale_bytes)
