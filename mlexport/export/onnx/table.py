"""The token table: a lookup in each scheme, of the table itself or of its left factor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import onnx_ir as ir

from mlexport.export.onnx.builder import Builder, Value
from mlexport.export.onnx.matmul import in_pairs, products
from mlexport.export.onnx.stream import Array, Weight
from mlexport.model import TABLE, TABLE_LEFT, TABLE_RIGHT
from mlexport.quantize.blocks import block_rows
from mlexport.quantize.graph_plan import GRAPH_SCHEMES, IntegerScheme
from mlexport.tensors import Float32, LazyTensor

Lookup = Callable[[Builder, Value, LazyTensor], Value]


def embed(
    builder: Builder,
    ids: Value,
    tensors: Mapping[str, LazyTensor],
    schemes: Mapping[str, str],
    lookups: Mapping[str, Lookup],
) -> Value:
    """float32 [tokens, hidden] of int64 ids [tokens], looked up as `lookups` has it for the table's scheme."""
    if TABLE in tensors:
        return lookups[schemes[TABLE]](builder, ids, tensors[TABLE])
    found = lookups[schemes[TABLE_LEFT]](builder, ids, tensors[TABLE_LEFT])
    [product] = products(builder, found, [(transposed(tensors[TABLE_RIGHT]), schemes[TABLE_RIGHT])])
    return product


def transposed(tensor: LazyTensor) -> LazyTensor:
    """The other way round; each block of rows reads the whole tensor, so only for small ones."""

    def read(start: int, stop: int) -> Float32:
        return np.ascontiguousarray(tensor.read()[:, start:stop].T)

    return LazyTensor(name=tensor.name, shape=tensor.shape[::-1], stored=tensor.stored, read_rows=read)


def _blocks(tensor: LazyTensor, change: Callable[[Float32], Array]) -> Iterator[Array]:
    for block in tensor.blocks():
        yield change(block)


def _float(dtype: ir.DataType, builder: Builder, ids: Value, tensor: LazyTensor) -> Value:
    chunks = partial(_blocks, tensor, lambda rows: rows.astype(dtype.numpy()))
    weight = Weight(name=tensor.name, dtype=dtype, shape=tensor.shape, chunks=chunks)
    found = builder.op("Gather", builder.weight(weight), ids, axis=0)
    return found if dtype is ir.DataType.FLOAT else builder.op("Cast", found, to=ir.DataType.FLOAT.value)


def _stored_float16(builder: Builder, ids: Value, tensor: LazyTensor) -> Value:
    """The cast before the lookup: OpenVINO then keeps the table in f16, and restores it all where it comes after."""
    chunks = partial(_blocks, tensor, lambda rows: rows.astype(np.float16))
    weight = Weight(name=tensor.name, dtype=ir.DataType.FLOAT16, shape=tensor.shape, chunks=chunks)
    restored = builder.op("Cast", builder.weight(weight), to=ir.DataType.FLOAT.value)
    return builder.op("Gather", restored, ids, axis=0)


def block_weights(tensor: LazyTensor, bits: int, block: int) -> tuple[Weight, Weight]:
    """Rows in blocks: uint8 [rows, blocks, bytes], 8 bits with 128 for zero, and scales, float16 [rows, blocks, 1]."""
    rows, blocks = tensor.shape[0], -(-tensor.shape[1] // block)

    def quantise(part: Float32) -> tuple[Array, Array]:
        integers, factors = block_rows(part, bits, block)
        return integers, factors.astype(np.float16)

    stored, scaled = in_pairs(tensor.blocks, quantise)
    values = Weight(
        name=tensor.name,
        dtype=ir.DataType.UINT8,
        shape=(rows, blocks, block * bits // 8),
        chunks=stored,
    )
    scales = Weight(
        name=f"{tensor.name}.scale",
        dtype=ir.DataType.FLOAT16,
        shape=(rows, blocks, 1),
        chunks=scaled,
    )
    return values, scales


def _bits(kind: IntegerScheme, builder: Builder, ids: Value, tensor: LazyTensor) -> Value:
    """Rows of bytes and of scales are looked up, and only those are restored, with standard operators."""
    b, columns = builder, tensor.shape[1]
    bits, block = kind.bits, kind.block or columns
    blocks = -(-columns // block)
    values, scales = block_weights(tensor, bits, block)
    found = b.op("Gather", b.weight(values), ids, axis=0)
    if bits == 4:
        # The even number is in the low half of a byte: halves beside each other, in the order of the row
        low = b.op("BitwiseAnd", found, b.const(15, np.uint8))
        # OpenVINO shifts by a division that rounds: it must come out even
        upper = b.op("BitwiseAnd", found, b.const(240, np.uint8))
        high = b.op("BitShift", upper, b.const(4, np.uint8), direction="RIGHT")
        halves = [b.op("Unsqueeze", half, b.const([3])) for half in (low, high)]
        found = b.op("Reshape", b.op("Concat", *halves, axis=3), b.const([0, blocks, block]))
    centred = b.op("Sub", b.op("Cast", found, to=ir.DataType.FLOAT.value), b.const(1 << (bits - 1), np.float32))
    scale = b.op("Cast", b.op("Gather", b.weight(scales), ids, axis=0), to=ir.DataType.FLOAT.value)
    restored = b.op("Reshape", b.op("Mul", centred, scale), b.const([-1, blocks * block]))
    if columns == blocks * block:
        return restored
    return b.op("Slice", restored, b.const([0]), b.const([columns]), b.const([1]))


LOOKUPS: Mapping[str, Lookup] = {
    "f32": partial(_float, ir.DataType.FLOAT),
    "f16": partial(_float, ir.DataType.FLOAT16),
    "f16_stored": _stored_float16,
    **{name: partial(_bits, GRAPH_SCHEMES[name]) for name in ("int8_b32", "int4_b32", "int4_b64", "int4_b128")},
}
