"""The graph with fixed shapes and no operator newer than opset 18's: for NPUs and accelerators.

Their compilers take no dynamic shape and none of `Attention`, `RMSNormalization` and `RotaryEmbedding`: these are
written out here, in tensors of at most four axes. Shapes are constants, so that no `Shape` or `Range` is left.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from mlexport.export.onnx.builder import Builder, Value
from mlexport.export.onnx.graph import FLOAT, EmbedderGraph, Options, Source

# Finite in float16, and large enough that its exponential is zero
MASKED = -1e4
# Read by the accelerators' compilers; `Attention` and its like came with 23
OPSET = 18


class StaticGraph(EmbedderGraph):
    """Texts of exactly `length` tokens, shorter ones padded, `batch` of them at a time."""

    def __init__(self, source: Source, batch: int, length: int) -> None:
        super().__init__(source, Options(broadcast=False))
        # Blocks of int4 are dequantised since opset 21; for OpenVINO alone
        self.b = Builder(21 if "int4_sym" in source.schemes.values() else OPSET)
        self.batch, self.tokens = batch, length
        self.ids = ir.val("input_ids", ir.DataType.INT64, [batch, length])
        self.mask = ir.val("attention_mask", ir.DataType.INT64, [batch, length])
        self.inputs = [self.ids, self.mask]

    def _positions(self) -> None:
        b, c = self.b, self.config
        b.scope("positions")
        steps = np.arange(self.tokens)
        self.length, self.steps = b.const(self.tokens), b.const(steps)
        self.positions = b.const(np.broadcast_to(steps, (self.batch, self.tokens)))
        count = b.op("ReduceSum", self.mask, b.const([1]), keepdims=1)
        self.count = b.op("Max", count, b.const([[1]]))
        self.end = b.op("Sub", self.count, b.const([[1]]))
        angles = b.op("Mul", b.op("Cast", b.const(steps[:, None]), to=FLOAT), self._frequencies())
        self.cos, self.sin = b.op("Cos", angles), b.op("Sin", angles)
        self.heads_shape = b.const([self.batch, self.tokens, c.heads * c.head_dim])
        self.kv_shape = b.const([self.batch, self.tokens, c.kv_heads * c.head_dim])
        later = b.op("Less", b.const(steps[:, None]), b.const(steps[None]))
        self.causal = self._masked(b.op("Not", later), [1, 1, self.tokens, self.tokens])

    def _pooled_rows(self) -> Value:
        starts = self.b.const(np.arange(self.batch) * self.tokens)
        return self.b.op("Add", starts, self.b.op("Reshape", self.end, self.b.const([-1])))

    def _norm(self, x: Value, name: str) -> Value:
        b = self.b
        square = b.op("ReduceMean", b.op("Mul", x, x), b.const([-1]), keepdims=1)
        size = b.op("Sqrt", b.op("Add", square, b.const(self.config.eps, np.float32)))
        return b.op("Mul", b.op("Div", x, size), self._vector(name))

    def _rotary(self, x: Value, heads: int, positions: Value) -> Value:
        """Rotated halves, as transformers' Qwen3 has them; in and out [batch, tokens, heads × head_dim]."""
        b, half = self.b, self.config.head_dim // 2
        # [batch, tokens, 1, head_dim / 2]
        cos, sin = (b.op("Unsqueeze", b.op("Gather", t, positions, axis=0), b.const([2])) for t in (self.cos, self.sin))
        split = b.op("Reshape", x, b.const([self.batch, -1, heads, 2 * half]))
        left, right = b.ops("Split", split, b.const([half, half]), axis=3, outputs=2)
        first = b.op("Sub", b.op("Mul", left, cos), b.op("Mul", right, sin))
        second = b.op("Add", b.op("Mul", right, cos), b.op("Mul", left, sin))
        rotated = b.op("Concat", first, second, axis=3)
        return b.op("Reshape", rotated, b.const([self.batch, -1, heads * 2 * half]))

    def _attention(self, query: Value, key: Value, value: Value) -> Value:
        query = self._rotary(query, self.config.heads, self.positions)
        key = self._rotary(key, self.config.kv_heads, self.positions)
        return self._mix(query, key, value, self.causal)

    def _attend(self, query: Value, key: Value, value: Value, seen: Value) -> Value:
        return self._mix(query, key, value, self._masked(seen, [self.batch, 1, 1, self.tokens]))

    def _masked(self, allowed: Value, shape: list[int]) -> Value:
        """0 where a key may be seen, MASKED elsewhere; float32 of `shape`."""
        b = self.b
        added = b.op("Where", allowed, b.const(0.0, np.float32), b.const(MASKED, np.float32))
        return b.op("Reshape", added, b.const(shape))

    def _mix(self, query: Value, key: Value, value: Value, added: Value) -> Value:
        """softmax(q · kᵀ / √head_dim + added) · v, back to [batch, queries, heads × head_dim]."""
        b, c = self.b, self.config
        q = self._heads(b.op("Mul", query, b.const(c.head_dim**-0.5, np.float32)), c.heads, [0, 2, 1, 3])
        k = self._repeated(self._heads(key, c.kv_heads, [0, 2, 3, 1]))
        v = self._repeated(self._heads(value, c.kv_heads, [0, 2, 1, 3]))
        weights = b.op("Softmax", b.op("Add", b.op("MatMul", q, k), added), axis=-1)
        mixed = b.op("Transpose", b.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        return b.op("Reshape", mixed, b.const([self.batch, -1, c.heads * c.head_dim]))

    def _heads(self, x: Value, heads: int, order: list[int]) -> Value:
        split = self.b.op("Reshape", x, self.b.const([self.batch, -1, heads, self.config.head_dim]))
        return self.b.op("Transpose", split, perm=order)

    def _repeated(self, x: Value) -> Value:
        """Each key or value head once for every query head of its group, along axis 1."""
        c = self.config
        if c.heads == c.kv_heads:
            return x
        return self.b.op("Gather", x, self.b.const(np.repeat(np.arange(c.kv_heads), c.heads // c.kv_heads)), axis=1)
