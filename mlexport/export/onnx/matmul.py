"""Matrix products x · Wᵀ in each scheme: the nodes, and the tensors as they are streamed.

Matrices that read the same x (query, key and value; gate and up) stay apart: joined into one they cost a copy of
the product to take it apart again, and could have only one scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike

from mlexport.export.onnx.builder import Builder, Value
from mlexport.export.onnx.stream import Array, Weight
from mlexport.quantize.blocks import block_rows, int8_rows
from mlexport.quantize.graph_plan import GRAPH_SCHEMES, IntegerScheme
from mlexport.tensors import Float32, LazyTensor

# Activations in int8 inside MatMulNBits; without it the weights are restored to float32 for every product
INT8_COMPUTE = 4
_FLOAT = ir.DataType.FLOAT.value


def products(builder: Builder, x: Value, matrices: Sequence[tuple[LazyTensor, str]]) -> list[Value]:
    """float32 [tokens, rows] = x · Wᵀ for each matrix; for those in int8 x is quantised once.

    Args:
        x: float32 [tokens, columns].
        matrices: W [rows, columns] and its scheme: "int8", or a key of SCHEMES.
    """
    quantised: _Quantised | None = None
    found = []
    for tensor, scheme in matrices:
        if scheme == "int8":
            quantised = quantised or _quantised_rows(builder, x)
            found.append(_int8(builder, quantised, [tensor], tensor.name))
        else:
            found.append(SCHEMES[scheme](builder, x, [tensor], tensor.name))
    return found


def _size(tensors: Sequence[LazyTensor]) -> tuple[int, int]:
    return sum(tensor.shape[0] for tensor in tensors), tensors[0].shape[1]


def _blocks(tensors: Sequence[LazyTensor], change: Callable[[Float32], Array]) -> Iterator[Array]:
    for tensor in tensors:
        for block in tensor.blocks():
            yield change(block)


def in_pairs(
    blocks: Callable[[], Iterator[Float32]], quantise: Callable[[Float32], tuple[Array, Array]]
) -> tuple[Callable[[], Iterator[Array]], Callable[[], Iterator[Array]]]:
    """Chunks of values, and of the scales behind them.

    Where all values were taken before, as a file is written, the scales are those that came with them, and each is
    given out once; else they are computed.
    """
    waiting: list[Array] = []
    complete = False

    def values() -> Iterator[Array]:
        nonlocal complete
        waiting.clear()
        complete = False
        for block in blocks():
            stored, scale = quantise(block)
            waiting.append(scale)
            yield stored
        complete = True

    def scales() -> Iterator[Array]:
        nonlocal complete
        if not complete:
            yield from (quantise(block)[1] for block in blocks())
            return
        complete = False
        while waiting:
            yield waiting.pop(0)

    return values, scales


def all_blocks(tensors: Sequence[LazyTensor]) -> Iterator[Float32]:
    """The rows of one tensor after the other, in blocks."""
    for tensor in tensors:
        yield from tensor.blocks()


def _cast(dtype: DTypeLike, rows: Float32) -> Array:
    return rows.astype(dtype)


def _float32(builder: Builder, x: Value, tensors: Sequence[LazyTensor], name: str) -> Value:
    chunks = partial(_blocks, tensors, partial(_cast, np.float32))
    weight = Weight(name=name, dtype=ir.DataType.FLOAT, shape=_size(tensors), chunks=chunks)
    return builder.op("Gemm", x, builder.weight(weight), transB=1)


def _float16(builder: Builder, x: Value, tensors: Sequence[LazyTensor], name: str) -> Value:
    chunks = partial(_blocks, tensors, partial(_cast, np.float16))
    weight = Weight(name=name, dtype=ir.DataType.FLOAT16, shape=_size(tensors), chunks=chunks)
    half = builder.op("Cast", x, to=ir.DataType.FLOAT16.value)
    product = builder.op("Gemm", half, builder.weight(weight), transB=1)
    return builder.op("Cast", product, to=_FLOAT)


def _stored_float16(builder: Builder, x: Value, tensors: Sequence[LazyTensor], name: str) -> Value:
    """f16 in the file, float32 in the product: OpenVINO decides what it computes in."""
    chunks = partial(_blocks, tensors, partial(_cast, np.float16))
    weight = Weight(name=name, dtype=ir.DataType.FLOAT16, shape=_size(tensors), chunks=chunks)
    return builder.op("Gemm", x, builder.op("Cast", builder.weight(weight), to=_FLOAT), transB=1)


def int8_weight(builder: Builder, tensors: Sequence[LazyTensor], name: str) -> tuple[Value, Value]:
    """int8 [columns, rows] and a scale a row, float32 [rows]."""
    rows, columns = _size(tensors)
    whole, behind = in_pairs(lambda: (tensor.read() for tensor in tensors), int8_rows)

    def chunks() -> Iterator[Array]:
        # Beside each other and turned: the only case that holds a whole tensor
        yield np.concatenate(list(whole())).T

    values = Weight(name=name, dtype=ir.DataType.INT8, shape=(columns, rows), chunks=chunks)
    scales = Weight(name=f"{name}.scale", dtype=ir.DataType.FLOAT, shape=(rows,), chunks=behind)
    return builder.weight(values), builder.weight(scales)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantised:
    """x ≈ row · scale · (values - zero): uint8 [tokens, columns], one scale and zero, and a float32 [tokens, 1]."""

    values: Value
    scale: Value
    zero: Value
    row: Value


def _quantised_rows(builder: Builder, x: Value) -> _Quantised:
    """Each token's numbers are divided by the largest of them, so that one scale suits every token.

    With one scale for the numbers as they are, a token with large ones takes the precision of the others, and a
    vector depends on the texts beside it: on the demo a mean cosine of .9988 for .9991.
    """
    b = builder
    largest = b.op("ReduceMax", b.op("Abs", x), b.const([1]), keepdims=1)
    row = b.op("Max", largest, b.const(np.finfo(np.float32).tiny, np.float32))
    step, zero = b.const(1 / 127, np.float32), b.const(128, np.uint8)
    values = b.op("QuantizeLinear", b.op("Div", x, row), step, zero)
    # Times one, which is known only when it runs: ONNX Runtime multiplies two constants before it looks for what it
    # can fuse, and then leaves the product, the cast and the scale apart (25.1 ms of the 8-layer cut for 24.2)
    one = b.op("Cast", b.op("Greater", b.op("ReduceMax", row, keepdims=0), b.const(0.0, np.float32)), to=_FLOAT)
    return _Quantised(values=values, scale=b.op("Mul", step, one), zero=zero, row=row)


def _int8(builder: Builder, x: _Quantised, tensors: Sequence[LazyTensor], name: str) -> Value:
    weight, scale = int8_weight(builder, tensors, name)
    product = builder.op("MatMulInteger", x.values, weight, x.zero)
    product = builder.op("Cast", product, to=_FLOAT)
    return builder.op("Mul", builder.op("Mul", product, builder.op("Mul", x.scale, scale)), x.row)


def _compressed(kind: IntegerScheme, builder: Builder, x: Value, tensors: Sequence[LazyTensor], name: str) -> Value:
    """Constant → Convert → Multiply → Reshape → Convert → MatMul: NNCF's pattern, which OpenVINO runs compressed.

    int8 with a scale a row, or int4 with one for each block of a row (which must divide it); scales in f16.
    """
    b, (rows, columns) = builder, _size(tensors)
    quantise: Callable[[Float32], tuple[Array, Array]] = _int8_half
    dtype, blocks = ir.DataType.INT8, 1
    if kind.block is not None:
        quantise = partial(_int4_half, kind.block)
        dtype, blocks = ir.DataType.INT4, columns // kind.block
    values, scales = in_pairs(partial(all_blocks, tensors), quantise)
    shape: tuple[int, ...] = (rows, columns) if blocks == 1 else (rows, blocks, columns // blocks)
    weight = Weight(name=name, dtype=dtype, shape=shape, chunks=values)
    scale = Weight(name=f"{name}.scale", dtype=ir.DataType.FLOAT16, shape=(rows, *shape[1:-1], 1), chunks=scales)
    restored = b.op("Mul", b.op("Cast", b.weight(weight), to=ir.DataType.FLOAT16.value), b.weight(scale))
    if blocks != 1:
        restored = b.op("Reshape", restored, b.const([rows, columns]))
    return b.op("Gemm", x, b.op("Cast", restored, to=_FLOAT), transB=1)


def _int8_half(rows: Float32) -> tuple[Array, Array]:
    stored, scales = int8_rows(rows)
    return stored, scales.astype(np.float16)


def _int4_half(block: int, rows: Float32) -> tuple[Array, Array]:
    stored, scales = block_rows(rows, 4, block)
    # The stored 0..15 mean -8..7; with the highest of the four bits flipped they are that in two's complement
    return stored ^ np.uint8(0x88), scales.astype(np.float16)


def _nbits(kind: IntegerScheme, builder: Builder, x: Value, tensors: Sequence[LazyTensor], name: str) -> Value:
    rows, columns = _size(tensors)
    bits, block = kind.bits, kind.block or columns
    blocks = -(-columns // block)

    values, scales = in_pairs(partial(all_blocks, tensors), lambda part: block_rows(part, bits, block))
    shape = (rows, blocks, block * bits // 8)
    weight = Weight(name=name, dtype=ir.DataType.UINT8, shape=shape, chunks=values)
    scale = Weight(name=f"{name}.scale", dtype=ir.DataType.FLOAT, shape=(rows * blocks,), chunks=scales)
    return builder.fused(
        "MatMulNBits",
        x,
        builder.weight(weight),
        builder.weight(scale),
        K=columns,
        N=rows,
        bits=bits,
        block_size=block,
        accuracy_level=INT8_COMPUTE,
    )


SCHEMES: dict[str, Callable[[Builder, Value, Sequence[LazyTensor], str], Value]] = {
    "f32": _float32,
    "f16": _float16,
    **{name: partial(_nbits, GRAPH_SCHEMES[name]) for name in ("int8_b32", "int4_b32", "int4_b64", "int4_b128")},
    # For OpenVINO's front end; ONNX Runtime would restore these for every product
    "f16_stored": _stored_float16,
    **{name: partial(_compressed, kind) for name, kind in GRAPH_SCHEMES.items() if "_sym" in name},
}
