"""The graph of a Qwen3 embedder: token ids and mask in, one normalised vector a text out.

Every row is shifted so that its text starts at position 0, whatever side it was padded on. Padding then stands
behind every token of the text, where causal attention never looks: no padding mask is needed, positions count
from 0, and the pooled token is the one at index `tokens - 1`. The mask must be ones in one piece.

Matrices see the batch flattened, [tokens, width]. Rotary angles are computed from positions: no table of them
limits the length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mlexport.export.onnx.builder import ORT_DOMAIN, Builder, Value
from mlexport.export.onnx.matmul import products
from mlexport.export.onnx.stored import stored_outputs
from mlexport.export.onnx.stream import Weight
from mlexport.export.onnx.table import LOOKUPS, Lookup, embed
from mlexport.model import FINAL_NORM, ModelConfig
from mlexport.retained import FLOAT_VECTORS, StoredVectors
from mlexport.tensors import LazyTensor

INT32, INT64, FLOAT = ir.DataType.INT32.value, ir.DataType.INT64.value, ir.DataType.FLOAT.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a graph is built from.

    Attributes:
        tensors: by name; the table either as TABLE or as its factors (see `table`).
        schemes: tensor name -> the plan's scheme.
        dim: numbers of the vector.
        stored: how vectors are stored: beside f32 a second output gives them so. An int8 range that is not known yet
            gives none.
    """

    config: ModelConfig
    tensors: Mapping[str, LazyTensor]
    schemes: Mapping[str, str]
    dim: int
    stored: StoredVectors = FLOAT_VECTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices that change the nodes and not the vectors.

    Attributes:
        fused: use ONNX Runtime's own operators beside the matrix products' (GroupQueryAttention,
            SkipSimplifiedLayerNormalization); other runtimes cannot read the file then.
        broadcast: a second output, `last_hidden_state` [batch, sequence, dim], with the text's vector at every
            position. Clients that insist on that name (optimum, transformers.js) pool it in any way and get the vector.
    """

    fused: bool = False
    broadcast: bool = True


class EmbedderGraph:
    """Builds the nodes; `model` and `weights` are then what `stream.write_model` takes."""

    lookups: Mapping[str, Lookup] = LOOKUPS

    def __init__(self, source: Source, options: Options) -> None:
        self.source, self.options = source, options
        self.config = source.config
        self.b = Builder()
        self.ids = ir.val("input_ids", ir.DataType.INT64, ["batch", "sequence"])
        self.mask = ir.val("attention_mask", ir.DataType.INT64, ["batch", "sequence"])
        # What ids and mask are made from, where the tokenizer is in the graph
        self.text: Value | None = None

    def build(self, metadata: dict[str, str]) -> ir.Model:
        """The whole graph."""
        self._positions()
        x = self._embeddings()
        delta: Value | None = None
        last = self.config.layers - 1
        for layer in range(last):
            x, delta = self._layer(layer, x, delta)
        x = self._last_layer(last, x, delta)
        if self.text is None:
            return self.b.model([self.ids, self.mask], self._pooled(x), metadata)
        # Who gives a text wants to know what became of it
        return self.b.model([self.text], [*self._pooled(x), self.ids, self.mask], metadata)

    def _positions(self) -> None:
        """Shapes, lengths, angles: what every layer shares."""
        b = self.b
        b.scope("positions")
        self.shape = b.op("Shape", self.ids)
        self.length = b.op("Gather", self.shape, b.const(1))
        self.steps = b.op("Range", b.const(0), self.length, b.const(1))
        count = b.op("ReduceSum", self.mask, b.const([1]), keepdims=1)
        # A row without any token must not index before the first
        self.count = b.op("Max", count, b.const([[1]]))
        self.end = b.op("Sub", self.count, b.const([[1]]))
        frequencies = self._frequencies()
        angles = b.op("Mul", b.op("Unsqueeze", b.op("Cast", self.steps, to=FLOAT), b.const([1])), frequencies)
        self.cos, self.sin = b.op("Cos", angles), b.op("Sin", angles)
        self.positions = b.op("Expand", b.op("Unsqueeze", self.steps, b.const([0])), self.shape)
        self.heads_shape = b.op("Concat", self.shape, b.const([self.config.heads * self.config.head_dim]), axis=0)
        self.kv_shape = b.op("Concat", self.shape, b.const([self.config.kv_heads * self.config.head_dim]), axis=0)

    def _frequencies(self) -> Value:
        """float32 [1, head_dim / 2], rounded as transformers rounds them."""
        powers = np.arange(0, self.config.head_dim, 2, dtype=np.float32) / np.float32(self.config.head_dim)
        return self.b.const((1 / np.float32(self.config.rope_theta) ** powers)[None], np.float32)

    def _embeddings(self) -> Value:
        """Token vectors of the shifted rows, float32 [batch × sequence, hidden]."""
        b = self.b
        b.scope("embed_tokens")
        first = b.op("ArgMax", b.op("Cast", self.mask, to=INT32), axis=1, keepdims=1)
        # Past the end of the row any token will do: nothing looks at it
        source = b.op("Min", b.op("Add", self.steps, first), b.op("Sub", self.length, b.const(1)))
        ids = b.op("Reshape", b.op("GatherElements", self.ids, source, axis=1), b.const([-1]))
        return embed(b, ids, self.source.tensors, self.source.schemes, self.lookups)

    def _layer(self, layer: int, x: Value, delta: Value | None) -> tuple[Value, Value]:
        """A layer on every token: the residual, and what is still to be added to it."""
        b, c = self.b, self.config
        b.scope(f"layers.{layer}/attention")
        normed, x = self._add_norm(x, delta, f"layers.{layer}.input_layernorm.weight")
        query, key, value = self._products(layer, normed, "self_attn", ("q_proj", "k_proj", "v_proj"))
        query = self._head_norm(layer, "q_norm", query, self.heads_shape)
        key = self._head_norm(layer, "k_norm", key, self.kv_shape)
        mixed = self._attention(query, key, b.op("Reshape", value, self.kv_shape))
        mixed = b.op("Reshape", mixed, b.const([-1, c.heads * c.head_dim]))
        return self._mlp(layer, x, *self._products(layer, mixed, "self_attn", ("o_proj",)))

    def _last_layer(self, layer: int, x: Value, delta: Value | None) -> Value:
        """Keys and values of every token; query, output projection and MLP of the pooled one: [batch, hidden]."""
        b, c = self.b, self.config
        b.scope(f"layers.{layer}/attention")
        normed, x = self._add_norm(x, delta, f"layers.{layer}.input_layernorm.weight")
        key, value = self._products(layer, normed, "self_attn", ("k_proj", "v_proj"))
        rows = self._pooled_rows()
        [query] = self._products(layer, b.op("Gather", normed, rows, axis=0), "self_attn", ("q_proj",))
        query = self._head_norm(layer, "q_norm", query, b.const([-1, 1, c.heads * c.head_dim]))
        query = self._rotary(query, c.heads, self.end)
        key = self._rotary(self._head_norm(layer, "k_norm", key, self.kv_shape), c.kv_heads, self.positions)
        # [batch, 1, 1, sequence]: the keys of the text
        seen = b.op("Unsqueeze", b.op("Less", self.positions, self.count), b.const([1, 2]))
        value = b.op("Reshape", value, self.kv_shape)
        mixed = self._attend(query, key, value, seen)
        mixed = b.op("Reshape", mixed, b.const([-1, c.heads * c.head_dim]))
        [delta] = self._products(layer, mixed, "self_attn", ("o_proj",))
        return b.op("Add", *self._mlp(layer, b.op("Gather", x, rows, axis=0), delta))

    def _pooled_rows(self) -> Value:
        """Index of each text's last token in the flattened batch, int64 [batch]."""
        b = self.b
        batch = b.op("Gather", self.shape, b.const(0))
        starts = b.op("Mul", b.op("Range", b.const(0), batch, b.const(1)), self.length)
        return b.op("Add", starts, b.op("Reshape", self.end, b.const([-1])))

    def _mlp(self, layer: int, x: Value, delta: Value) -> tuple[Value, Value]:
        b = self.b
        b.scope(f"layers.{layer}/mlp")
        normed, x = self._add_norm(x, delta, f"layers.{layer}.post_attention_layernorm.weight")
        gate, up = self._products(layer, normed, "mlp", ("gate_proj", "up_proj"))
        hidden = b.op("Mul", b.op("Mul", gate, b.op("Sigmoid", gate)), up)
        [down] = self._products(layer, hidden, "mlp", ("down_proj",))
        return x, down

    def _pooled(self, x: Value) -> list[Value]:
        """The outputs, from the pooled token's last residual, float32 [batch, hidden].

        The final norm divides by the size of the whole residual and multiplies by its weight; the division is
        undone by normalising, so only the weight is left of it.
        """
        b = self.b
        b.scope("pooling")
        x = b.op("Slice", x, b.const([0]), b.const([self.source.dim]), b.const([1]))
        x = b.op("Mul", x, self._vector(FINAL_NORM, self.source.dim))
        size = b.op("Max", b.op("ReduceL2", x, b.const([1]), keepdims=1), b.const(1e-12, np.float32))
        vector = b.op("Div", x, size)
        vector.name, vector.dtype, vector.shape = (
            "sentence_embedding",
            ir.DataType.FLOAT,
            ir.Shape(["batch", self.source.dim]),
        )
        stored = (
            [] if self.source.stored.output is None else stored_outputs(b, vector, self.source.stored, self.source.dim)
        )
        if not self.options.broadcast:
            return [vector, *stored]
        shape = b.op("Concat", self.shape, b.const([self.source.dim]), axis=0)
        states = b.op("Expand", b.op("Unsqueeze", vector, b.const([1])), shape)
        states.name, states.dtype = "last_hidden_state", ir.DataType.FLOAT
        states.shape = ir.Shape(["batch", "sequence", self.source.dim])
        return [vector, states, *stored]

    def _products(self, layer: int, x: Value, part: str, matrices: Sequence[str]) -> list[Value]:
        names = [f"layers.{layer}.{part}.{matrix}.weight" for matrix in matrices]
        return products(self.b, x, [(self.source.tensors[name], self.source.schemes[name]) for name in names])

    def _norm(self, x: Value, name: str) -> Value:
        return self.b.op("RMSNormalization", x, self._vector(name), axis=-1, epsilon=self.config.eps)

    def _add_norm(self, x: Value, delta: Value | None, name: str) -> tuple[Value, Value]:
        """The norm of x + delta, and x + delta itself."""
        if delta is None:
            return self._norm(x, name), x
        if self.options.fused:
            weight, eps = self._vector(name), self.config.eps
            found = self.b.ops(
                "SkipSimplifiedLayerNormalization", x, delta, weight, domain=ORT_DOMAIN, outputs=4, epsilon=eps
            )
            return found[0], found[3]
        x = self.b.op("Add", x, delta)
        return self._norm(x, name), x

    def _head_norm(self, layer: int, name: str, x: Value, shape: Value) -> Value:
        """The norm of each head's own numbers; [tokens, heads × head_dim] -> [batch, sequence, heads × head_dim]."""
        heads = self.b.op("Reshape", x, self.b.const([0, -1, self.config.head_dim]))
        return self.b.op("Reshape", self._norm(heads, f"layers.{layer}.self_attn.{name}.weight"), shape)

    def _rotary(self, x: Value, heads: int, positions: Value) -> Value:
        return self.b.op("RotaryEmbedding", x, self.cos, self.sin, positions, num_heads=heads)

    def _attention(self, query: Value, key: Value, value: Value) -> Value:
        """Causal attention of [batch, sequence, heads × head_dim], rotated in here."""
        b, c = self.b, self.config
        if self.options.fused:
            ends = b.op("Cast", b.op("Reshape", self.end, b.const([-1])), to=INT32)
            total = b.op("Cast", self.length, to=INT32)
            heads = {"num_heads": c.heads, "kv_num_heads": c.kv_heads, "do_rotary": 1}
            inputs = (query, key, value, None, None, ends, total, self.cos, self.sin)
            return b.fused("GroupQueryAttention", *inputs, outputs=3, **heads)
        query = self._rotary(query, c.heads, self.positions)
        key = self._rotary(key, c.kv_heads, self.positions)
        return b.op("Attention", query, key, value, is_causal=1, q_num_heads=c.heads, kv_num_heads=c.kv_heads)

    def _attend(self, query: Value, key: Value, value: Value, seen: Value) -> Value:
        """Attention of one query a text, [batch, 1, heads × head_dim], to the keys that `seen` allows."""
        c = self.config
        return self.b.op("Attention", query, key, value, seen, q_num_heads=c.heads, kv_num_heads=c.kv_heads)

    def _vector(self, name: str, numbers: int | None = None) -> Value:
        tensor = self.source.tensors[name]
        stop = tensor.shape[0] if numbers is None else numbers
        weight = Weight(
            name=name, dtype=ir.DataType.FLOAT, shape=(stop,), chunks=lambda: iter((tensor.read_rows(0, stop),))
        )
        return self.b.weight(weight)
