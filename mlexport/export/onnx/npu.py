"""The static graph as Qualcomm's compiler takes it: norms whole, and products in w8a16.

All of it is computed in f16, but for products whose matrix is in "w8a16": int8 weights with one scale a row, input and
product in uint16 with ranges from calibration text. Residuals, norms, rotation and softmax stay in f16: in uint16 with
one range, the residual's few large columns would take the precision of all others.

`RMSNormalization` stays one operator: written out, its squares pass 65,504 in f16 where a number passes 256. Tried on
HTP 75: a column of 3,000 in a row of normal numbers cost 725% of the others written out, and 0.04% as the operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from mlexport.export.onnx.builder import OPSET, Builder, Value
from mlexport.export.onnx.graph import FLOAT, EmbedderGraph, Source
from mlexport.export.onnx.static import StaticGraph
from mlexport.export.onnx.stream import Array, Weight
from mlexport.export.onnx.table import LOOKUPS, Lookup, block_weights
from mlexport.facts import Range
from mlexport.quantize.blocks import int8_rows
from mlexport.quantize.graph_plan import WITH_ACTIVATIONS
from mlexport.tensors import LazyTensor

# Steps of a uint16
_STEPS = 65535
# Norms of fewer numbers are written out: HTP's operator is wrong for [tokens, heads, 32] (by 70% in QAIRT 2.51; right
# from 48 on)
_NARROW = 64
# Code of zero in a table's blocks
_CENTRE = 128


def _blocks_of_32(b: Builder, ids: Value, tensor: LazyTensor) -> Value:
    """Rows of int8 and their scales looked up.

    HTP looks up whole numbers of 8 bits only where they are quantised ones: the codes are, in steps of one.
    """
    columns, block = tensor.shape[1], 32
    values, scales = block_weights(tensor, 8, block)
    step, zero = b.const(1.0, np.float32), b.const(_CENTRE, np.uint8)
    found = b.op("Gather", b.op("DequantizeLinear", b.weight(values), step, zero), ids, axis=0)
    found = b.op("DequantizeLinear", b.op("QuantizeLinear", found, step, zero), step, zero)
    scale = b.op("Cast", b.op("Gather", b.weight(scales), ids, axis=0), to=FLOAT)
    blocks = -(-columns // block)
    restored = b.op("Reshape", b.op("Mul", found, scale), b.const([-1, blocks * block]))
    if columns == blocks * block:
        return restored
    return b.op("Slice", restored, b.const([0]), b.const([columns]), b.const([1]))


class NpuGraph(StaticGraph):
    """Texts of exactly `length` tokens, `batch` of them at a time.

    Args:
        ranges: a matrix in "w8a16" -> the ranges of its input and of its product.
    """

    lookups: Mapping[str, Lookup] = {**LOOKUPS, "int8_b32": _blocks_of_32}

    def __init__(self, source: Source, batch: int, length: int, ranges: Mapping[str, tuple[Range, Range]]) -> None:
        super().__init__(source, batch, length)
        self.b, self.ranges = Builder(OPSET), ranges

    def _norm(self, x: Value, name: str) -> Value:
        if self.source.tensors[name].shape[0] < _NARROW:
            return super()._norm(x, name)
        return EmbedderGraph._norm(self, x, name)

    def _products(self, layer: int, x: Value, part: str, matrices: Sequence[str]) -> list[Value]:
        read: dict[Range, Value] = {}
        found = []
        for matrix in matrices:
            name = f"layers.{layer}.{part}.{matrix}.weight"
            if self.source.schemes[name] != WITH_ACTIVATIONS:
                found += super()._products(layer, x, part, (matrix,))
                continue
            taken, given = self.ranges[name]
            # Matrices that read the same x share its quantised form
            if taken not in read:
                read[taken] = self._through_uint16(x, taken)
            product = self.b.op("Gemm", read[taken], self._int8(self.source.tensors[name]), transB=1)
            found.append(self._through_uint16(product, given))
        return found

    def _through_uint16(self, x: Value, limits: Range) -> Value:
        scale = np.float32(max(limits.high - limits.low, float(np.finfo(np.float32).tiny)) / _STEPS)
        zero = np.clip(np.rint(-limits.low / scale), 0, _STEPS)
        constants = (self.b.const(scale, np.float32), self.b.const(zero, np.uint16))
        return self.b.op("DequantizeLinear", self.b.op("QuantizeLinear", x, *constants), *constants)

    def _int8(self, tensor: LazyTensor) -> Value:
        """float32 [rows, columns], of int8 and one scale a row."""
        rows, columns = tensor.shape

        def parts(place: int) -> Iterator[Array]:
            for block in tensor.blocks():
                yield int8_rows(block)[place]

        values = Weight(name=tensor.name, dtype=ir.DataType.INT8, shape=(rows, columns), chunks=lambda: parts(0))
        scales = Weight(name=f"{tensor.name}.scale", dtype=ir.DataType.FLOAT, shape=(rows,), chunks=lambda: parts(1))
        return self.b.op("DequantizeLinear", self.b.weight(values), self.b.weight(scales), axis=0)
