"""A graph's matrix products, attentions and lookups, found by running shapes through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from mlexport.errors import ArtifactError
from mlexport.estimate.shapes import UNKNOWN, Node, Shape, Value, infer
from mlexport.estimate.work import Attention, Lookup, Product, Rows, Work
from mlexport.model import TABLE_RIGHT
from mlexport.spec import Target

# Shapes of the inputs of a graph that takes any: no other size of a model is a product of these
_BATCH, _TOKENS = 3, 1009
_SCALE = ".scale"
_ATTENTION = ("Attention", "ScaledDotProductAttention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor of the file: shape, type ("f32", "int8", "int4", "uint8", …) and exact bytes."""

    shape: Shape
    dtype: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A file's nodes in order.

    Attributes:
        inputs: name -> fixed shape, or None where any will do.
        stored: tensors by name.
        values: what is known of them before: shapes, and data of small ones.
    """

    target: Target
    nodes: Sequence[Node]
    inputs: Mapping[str, Shape | None]
    stored: Mapping[str, Stored]
    values: Mapping[str, Value]


def work_of(graph: Graph, operators: Sequence[str], where: str) -> Work:
    """What one call of the graph does.

    Raises:
        ArtifactError: a product whose rows do not follow from the inputs.
    """
    return _Counter(graph, where).count(operators)


class _Counter:
    def __init__(self, graph: Graph, where: str) -> None:
        self.graph, self.where = graph, where
        fixed = next((shape for shape in graph.inputs.values() if shape is not None), None)
        self.shape = None if fixed is None else (fixed[0], fixed[1])
        self.batch, self.tokens = self.shape or (_BATCH, _TOKENS)
        self.products: list[Product] = []
        self.attentions: list[Attention] = []
        self.tables: list[str] = []
        # Keys of a written-out attention, waiting for the product with v
        self.scores: Shape | None = None

    def count(self, operators: Sequence[str]) -> Work:
        values: dict[str, Value] = dict(self.graph.values)
        values |= {name: Value(shape=(self.batch, self.tokens)) for name in self.graph.inputs}
        for node in self.graph.nodes:
            inputs = [values.get(name, UNKNOWN) for name in node.inputs]
            values |= dict(zip(node.outputs, infer(node, inputs), strict=False))
            self._take(node, inputs)
        hidden = self.products[0].columns if self.products else 0
        return Work(
            target=self.graph.target,
            products=tuple(self.products),
            attentions=tuple(self.attentions),
            lookups=tuple(self._lookup(name, hidden) for name in dict.fromkeys(self.tables)),
            shape=self.shape,
            operators=tuple(sorted(set(operators))),
            hidden=self._hidden(hidden),
            vocabulary=max((self.graph.stored[name].shape[0] for name in self.tables), default=0),
        )

    def _take(self, node: Node, inputs: Sequence[Value]) -> None:
        if node.kind == "MatMulNBits":
            self._product(node, inputs, int(node.attributes["N"]), int(node.attributes["K"]), node.inputs[1])
        elif node.kind in ("MatMul", "Gemm", "MatMulInteger"):
            names = inputs[1].weights
            if names:
                self._matrix(node, inputs, max(names, key=lambda name: self.graph.stored[name].bytes))
            else:
                self._written_out(inputs)
        elif node.kind in _ATTENTION:
            self._attention(node, inputs)
        elif node.kind == "Gather" and inputs[0].weights and prod(inputs[1].shape or ()) == self.batch * self.tokens:
            self._looked_up(inputs[0])

    def _matrix(self, node: Node, inputs: Sequence[Value], name: str) -> None:
        shape = inputs[1].shape
        if shape is None:
            raise self._unknown(name)
        across = str(node.attributes.get("transB", 0)).lower() in ("1", "true")
        outputs, columns = shape if across else shape[::-1]
        self._product(node, inputs, outputs, columns, name)

    def _product(self, node: Node, inputs: Sequence[Value], outputs: int, columns: int, name: str) -> None:
        shape = inputs[0].shape
        if shape is None:
            raise self._unknown(name)
        size = self.graph.stored[name].bytes
        scale = self.graph.stored.get(name + _SCALE)
        self.products.append(
            Product(
                name=name,
                scheme=_scheme(node, self.graph.stored[name]),
                rows=self._rows(prod(shape[:-1]), name),
                columns=columns,
                outputs=outputs,
                bytes=size + (0 if scale is None else scale.bytes),
            )
        )

    def _rows(self, count: int, name: str) -> Rows:
        if count == self.batch * self.tokens:
            return Rows.TOKEN
        if count == self.batch:
            return Rows.TEXT
        raise ArtifactError(
            f"{self.where}: the product with {name} has {count:,} rows for {self.batch} texts of {self.tokens} tokens: "
            "neither one a token nor one a text, so its operations cannot be counted"
        )

    def _attention(self, node: Node, inputs: Sequence[Value]) -> None:
        query = inputs[0].shape
        if query is None:
            raise self._unknown(node.name)
        if len(query) == 4:
            heads, queries, width = query[1:]
        else:
            heads = int(node.attributes["q_num_heads"])
            queries, width = query[1], query[2] // heads
        self._attended(queries, heads, width)

    def _written_out(self, inputs: Sequence[Value]) -> None:
        """q · kᵀ, then weights · v, both [batch, heads, …]."""
        left, right = inputs[0].shape, inputs[1].shape
        if left is None or right is None or len(left) != 4:
            return
        if self.scores is None:
            self.scores = left
            return
        _, heads, queries, width = self.scores
        self.scores = None
        self._attended(queries, heads, width)

    def _attended(self, queries: int, heads: int, width: int) -> None:
        rows = Rows.TOKEN if queries == self.tokens else Rows.TEXT
        self.attentions.append(Attention(queries=rows, heads=heads, head_dim=width))

    def _looked_up(self, data: Value) -> None:
        """A table, or the scales beside one; not what is computed from constants, such as angles."""
        name = max(data.weights or (), key=lambda name: self.graph.stored[name].bytes)
        base = name.removesuffix(_SCALE)
        if base in self.graph.stored and prod(data.shape or ()) == prod(self.graph.stored[name].shape):
            self.tables.append(base)

    def _lookup(self, name: str, width: int) -> Lookup:
        parts = [self.graph.stored[part] for part in (name, name + _SCALE) if part in self.graph.stored]
        size, rows = sum(part.bytes for part in parts), parts[0].shape[0]
        scheme = _lookup_scheme(parts, width)
        return Lookup(name=name, scheme=scheme, bytes=size // rows, table_bytes=size)

    def _hidden(self, first: int) -> int:
        """Width of the residual: what the factor V of a rank cut gives, or what the first matrix takes."""
        right = next((product for product in self.products if product.name == TABLE_RIGHT), None)
        return first if right is None else right.outputs

    def _unknown(self, name: str) -> ArtifactError:
        return ArtifactError(
            f"{self.where}: the shape of what goes into {name} does not follow from the graph's inputs"
        )


def _scheme(node: Node, stored: Stored) -> str:
    """The plan's name for how a product's matrix is stored."""
    if node.kind == "MatMulInteger":
        return "int8"
    if node.kind == "MatMulNBits":
        return f"int{node.attributes['bits']}_b{node.attributes['block_size']}"
    if stored.dtype in ("int8", "int4"):
        block = stored.shape[-1] if len(stored.shape) == 3 else 0
        return f"{stored.dtype}_sym" + (f"_b{block}" if block not in (0, 32) else "")
    return stored.dtype


def _lookup_scheme(parts: Sequence[Stored], width: int) -> str:
    values = parts[0]
    if len(parts) == 1:
        return values.dtype
    # uint8 [rows, blocks, bytes of a block]: two numbers a byte where there are fewer bytes than numbers
    _, blocks, packed = values.shape
    bits = 8 if blocks * packed >= width else 4
    return f"int{bits}_b{packed * 8 // bits}"
