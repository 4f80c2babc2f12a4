"""Vectors as a user stores them, in the graph: int8 codes of a calibrated range, or packed signs.

The same numbers as `mlexport.evaluate.stored` gives for the graph's own float32 output, bit for bit.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mlexport.export.onnx.builder import Builder, Value
from mlexport.retained import StoredVectors
from mlexport.spec import VectorPrecision

_BITS = 8
_INT8_LARGEST = 127
# One after the other, as numpy.packbits has them
_BIT_VALUES = [128, 64, 32, 16, 8, 4, 2, 1]


def stored_outputs(b: Builder, vector: Value, stored: StoredVectors, dim: int) -> list[Value]:
    """The output beside `sentence_embedding`; none for f32, and for int8 whose range is still to be calibrated.

    Args:
        vector: float32 [batch, dim], normalised.
    """
    b.scope("stored")
    if stored.precision == VectorPrecision.BINARY:
        found, width = _packed_signs(b, vector, dim), -(-dim // _BITS)
        kind = ir.DataType.UINT8
    elif stored.precision == VectorPrecision.INT8 and stored.range is not None:
        found, width = _codes(b, vector, stored.range), dim
        kind = ir.DataType.INT8
    else:
        return []
    found.name, found.dtype, found.shape = stored.output, kind, ir.Shape(["batch", width])
    return [found]


def _codes(b: Builder, vector: Value, end: float) -> Value:
    scaled = b.op("Round", b.op("Mul", vector, b.const(_INT8_LARGEST / end, np.float32)))
    limits = (b.const(sign * _INT8_LARGEST, np.float32) for sign in (-1, 1))
    return b.op("Cast", b.op("Clip", scaled, *limits), to=ir.DataType.INT8.value)


def _packed_signs(b: Builder, vector: Value, dim: int) -> Value:
    """Eight signs a byte, the last one filled up with zeros."""
    count = -(-dim // _BITS)
    bits = b.op("Cast", b.op("Greater", vector, b.const(0, np.float32)), to=ir.DataType.INT32.value)
    if dim % _BITS:
        bits = b.op("Pad", bits, b.const([0, 0, 0, count * _BITS - dim]))
    parts = b.op("Mul", b.op("Reshape", bits, b.const([-1, count, _BITS])), b.const(_BIT_VALUES, np.int32))
    return b.op("Cast", b.op("ReduceSum", parts, b.const([2]), keepdims=0), to=ir.DataType.UINT8.value)
