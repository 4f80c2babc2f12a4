"""The plans of the targets made from the ONNX graph: which scheme each tensor of it gets, and its exact bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from mlexport.artifact import TensorPlan
from mlexport.model import FINAL_NORM, TABLE, TABLE_LEFT, TABLE_RIGHT, SubModel
from mlexport.quantize.sites import SITES
from mlexport.spec import Target
from mlexport.tensors import LazyTensor

_FLOAT_BYTES = {"f32": 4, "f16": 2}
_TABLE_SCALE_BYTES = 2
# Rows of normal numbers: .007 to .009. The demo's first value projection, .035, alone took its int8 from .9996 to .9988
PEAKED_ERROR = 0.015
# Rows that are looked at: pieces of a matrix
_PIECES, _PIECE_ROWS = 8, 16


# Whole numbers in the inputs and products of a matrix too
WITH_ACTIVATIONS = "w8a16"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerScheme:
    """How a scheme stores integers, always symmetric.

    Attributes:
        bits: of a number, 8 or 4.
        block: numbers of a row that share a scale; None: the whole row.
    """

    bits: int
    block: int | None


GRAPH_SCHEMES: Mapping[str, IntegerScheme] = {
    "int8": IntegerScheme(bits=8, block=None),
    "int8_sym": IntegerScheme(bits=8, block=None),
    "w8a16": IntegerScheme(bits=8, block=None),
    "int8_b32": IntegerScheme(bits=8, block=32),
    "int4_b32": IntegerScheme(bits=4, block=32),
    "int4_b64": IntegerScheme(bits=4, block=64),
    "int4_b128": IntegerScheme(bits=4, block=128),
    "int4_sym": IntegerScheme(bits=4, block=32),
    "int4_sym_b64": IntegerScheme(bits=4, block=64),
    "int4_sym_b128": IntegerScheme(bits=4, block=128),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one target makes of a precision.

    Attributes:
        tables: precision -> scheme of a looked-up table; int8_b32 for others. A table's error goes into every token,
            and 4 bits cost it the most.
        own_tables: the same where --table-precision names it; others are schemes as they are. int8 rows with one
            scale are no better than blocks, and no smaller by much.
        small: precision -> scheme of a rank cut's right factor.
        small_else: the same for other precisions.
        matrix_scale_bytes: bytes of a scale beside a matrix.
        one_scale: precision with one scale a row, in place of which matrices with peaks get `peaked`.
        norms: scheme of the norms.
        narrow: what a matrix gets in place of blocks that do not divide its columns; None where such blocks are padded.
    """

    tables: Mapping[str, str]
    own_tables: Mapping[str, str]
    small: Mapping[str, str]
    small_else: str
    matrix_scale_bytes: int
    narrow: str | None
    one_scale: str | None = None
    peaked: str = "int8_b32"
    norms: str = "f32"


# MatMulNBits takes scales in f32
_ONNX = Rules(
    tables={"f32": "f32", "f16": "f16"},
    own_tables={"int8": "int8_b32"},
    small={"f16": "f16"},
    small_else="f32",
    matrix_scale_bytes=4,
    narrow=None,
    one_scale="int8",
)
# Groups of 32: demo's L8-R128-D128 in int4 has mean cosine .981 with them, .967 with 64 and .945 with 128,
# for 4.7, 4.5 and 4.5 MB
_OPENVINO = Rules(
    tables={"f32": "f32", "f16": "f16"},
    own_tables={
        "int8_sym": "int8_b32",
        "int4_sym": "int4_b32",
        "int4_sym_b64": "int4_b64",
        "int4_sym_b128": "int4_b128",
    },
    small={"f32": "f32"},
    small_else="f16",
    matrix_scale_bytes=2,
    narrow="int8_sym",
)


# All that is no integer is f16 once it is compiled, which has no products in blocks
_QNN = Rules(
    tables={"f16": "f16"},
    own_tables={"w8a16": "int8_b32"},
    small={},
    small_else="f16",
    matrix_scale_bytes=4,
    narrow=None,
    one_scale="w8a16",
    peaked="f16",
    norms="f16",
)
_RULES = {Target.ONNX: _ONNX, Target.OPENVINO: _OPENVINO, Target.QNN: _QNN}


def plan_onnx(sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    """One row a tensor of the graph: a rank cut's table stays two factors."""
    return _plan(_ONNX, sub, precision, table_precision)


def plan_openvino(sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    """The same for OpenVINO IR, whose .bin file has these bytes and the graph's own constants."""
    return _plan(_OPENVINO, sub, precision, table_precision)


def plan_qnn(sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    """The same for a context binary, whose compiler pads and reorders: these are the numbers' own bytes."""
    return _plan(_QNN, sub, precision, table_precision)


def graph_row(sub: SubModel, target: Target, name: str, scheme: str, reason: str) -> TensorPlan:
    """A matrix's or a looked-up table's row in a scheme, or in what its columns allow instead."""
    rules = _RULES[target]
    if name == TABLE_LEFT and sub.factors is not None:
        return _row(rules, sub.factors[0], name, scheme, reason)
    if name == TABLE:
        return _row(rules, sub.tensors[name], name, scheme, reason)
    return _matrix_row(rules, sub.tensors[name], name, scheme, reason)


def _plan(rules: Rules, sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    rows = list(_table_rows(rules, sub, precision, table_precision))
    peaked = _peaked(sub) if precision == rules.one_scale else {}
    for name, tensor in sub.tensors.items():
        if name == TABLE:
            continue
        if name == FINAL_NORM:
            stored = replace(tensor, shape=(sub.spec.dim,))
            reason = f"norm: kept in {rules.norms}, as far as the vector reaches"
            rows.append(_row(rules, stored, name, rules.norms, reason))
        elif len(tensor.shape) == 1:
            rows.append(_row(rules, tensor, name, rules.norms, f"norm: kept in {rules.norms}"))
        elif name in peaked:
            instead = "f16" if rules.peaked == "f16" else "in blocks, each with its own scale"
            rows.append(_row(rules, tensor, name, rules.peaked, f"precision {precision}; {peaked[name]}: {instead}"))
        else:
            rows.append(_matrix_row(rules, tensor, name, precision, f"precision {precision}"))
    return tuple(rows)


def _matrix_row(rules: Rules, tensor: LazyTensor, name: str, scheme: str, reason: str) -> TensorPlan:
    columns, kind = tensor.shape[1], GRAPH_SCHEMES.get(scheme)
    if rules.narrow is not None and kind is not None and kind.block is not None and columns % kind.block:
        scheme, reason = (
            rules.narrow,
            f"{reason}; rows of {columns} are no multiple of {kind.block}: {rules.narrow}",
        )
    return _row(rules, tensor, name, scheme, reason)


def _peaked(sub: SubModel) -> dict[str, str]:
    """Matrices that one scale a row would spoil, and those that share their product: name -> why."""
    found: dict[str, str] = {}
    for layer in range(sub.config.layers):
        for site in SITES:
            names = site.names(layer)
            worst = max(names, key=lambda name: _row_error(sub.tensors[name]))
            error = _row_error(sub.tensors[worst])
            if error > PEAKED_ERROR:
                part = worst.removeprefix(f"layers.{layer}.").removesuffix(".weight")
                found |= dict.fromkeys(
                    names, f"rows of {part} have peaks, one scale a row would cost {error:.1%} of them"
                )
    return found


def _row_error(tensor: LazyTensor) -> float:
    """Error of int8 with one scale a row, as a share of the rows: steps of max / 127, uniform errors within them.

    From pieces of the matrix, so that planning reads little.
    """
    count = tensor.shape[0]
    starts = sorted({place * count // _PIECES for place in range(_PIECES)})
    rows = np.concatenate([tensor.read_rows(start, min(start + _PIECE_ROWS, count)) for start in starts])
    squares = (rows**2).mean()
    steps = (np.abs(rows).max(axis=1) / 127) ** 2 / 12
    return float(np.sqrt(steps.mean() / squares)) if squares > 0 else 0.0


def _table_rows(rules: Rules, sub: SubModel, precision: str, table_precision: str | None) -> Iterator[TensorPlan]:
    scheme, reason = rules.tables.get(precision, "int8_b32"), f"precision {precision}"
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
    kept = rules.small.get(precision, rules.small_else)
    yield _row(rules, right, TABLE_RIGHT, kept, f"small: kept in {kept}")


def _row(rules: Rules, tensor: LazyTensor, name: str, scheme: str, reason: str) -> TensorPlan:
    scale = _TABLE_SCALE_BYTES if name in (TABLE, TABLE_LEFT) else rules.matrix_scale_bytes
    size = _bytes(tensor.shape, scheme, scale)
    kind = GRAPH_SCHEMES.get(scheme)
    block = None if kind is None else kind.block or tensor.shape[1]
    symmetric = None if kind is None else True
    return TensorPlan(
        name=name, shape=tensor.shape, scheme=scheme, block=block, symmetric=symmetric, bytes=size, reason=reason
    )


def _bytes(shape: tuple[int, ...], scheme: str, scale_bytes: int) -> int:
    if scheme in _FLOAT_BYTES:
        return prod(shape) * _FLOAT_BYTES[scheme]
    rows, columns = shape
    kind = GRAPH_SCHEMES[scheme]
    if kind.block is None:
        return rows * columns + rows * scale_bytes
    blocks = rows * -(-columns // kind.block)
    return blocks * (kind.block * kind.bits // 8 + scale_bytes)
