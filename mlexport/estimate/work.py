"""What a call of a model does: matrix products, attention, lookups; as functions of tokens and batch.

Nothing here knows a device. A multiply-add counts two operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlexport.spec import Target

# Bytes of an activation between two products, as CPUs keep them
ACTIVATION_BYTES = 4
# Rows that llama.cpp runs at a time: MICRO_BATCH of mlexport.runtime.llamacpp, compared by a test
LLAMA_ROWS = 128
# llama.cpp attends to a multiple of this many places of its cache, empty ones too (llama_kv_cache::get_n_kv)
LLAMA_KEYS = 256
# Shortest context that mlexport.runtime.llamacpp makes
LLAMA_CONTEXT = 512


class Rows(StrEnum):
    """How many rows something has: one for each token, or one for each text."""

    TOKEN = "token"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """x · Wᵀ, x being [rows, columns].

    Attributes:
        name: the tensor's, as in transformers.
        scheme: as in the plan (f32, int8, int4_b32, q8_0, …).
        columns, outputs: of W, which is [outputs, columns].
        bytes: of W as stored, its scales included.
        head: a product over the whole vocabulary whose result nobody reads (llama.cpp alone).
    """

    name: str
    scheme: str
    rows: Rows
    columns: int
    outputs: int
    bytes: int
    head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """softmax(q · kᵀ) · v of one layer; keys of every token."""

    queries: Rows
    heads: int
    head_dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A row of a table for each token.

    Attributes:
        bytes: of one row as stored, its scales included.
        table_bytes: of all rows.
    """

    name: str
    scheme: str
    bytes: int
    table_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one call does.

    Attributes:
        shape: the only (batch, tokens) that the file takes; None where any will do.
        operators: kinds of nodes in the file; empty for a format without a graph.
        hidden: width of the residual.
        vocabulary: rows of the table.
    """

    target: Target
    products: tuple[Product, ...]
    attentions: tuple[Attention, ...]
    lookups: tuple[Lookup, ...]
    shape: tuple[int, int] | None
    operators: tuple[str, ...]
    hidden: int
    vocabulary: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of every matrix and table once; a head that is the table is not counted again."""
        matrices = sum(product.bytes for product in self.products if not product.head)
        return matrices + sum(lookup.table_bytes for lookup in self.lookups)

    @property
    def steps(self) -> int:
        """Products and attentions: what a runtime starts one after the other."""
        return len(self.products) + len(self.attentions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Rows that run through the model together.

    Attributes:
        texts: texts in it.
        rows: tokens of each that are new.
        keys: tokens of each that attention looks at.
        last: whether it is the last of its texts, which the rows for a text alone wait for.
    """

    texts: int
    rows: int
    keys: int
    last: bool

    def count(self, rows: Rows) -> int:
        """Rows of a product in it."""
        return self.texts * self.rows if rows is Rows.TOKEN else self.texts * self.last


def passes(target: Target, tokens: int, batch: int) -> tuple[Pass, ...]:
    """How a runtime takes `batch` texts of `tokens` tokens: all at once, or in llama.cpp's micro-batches."""
    if target is not Target.GGUF:
        return (Pass(texts=batch, rows=tokens, keys=tokens, last=True),)
    context = -(-max(tokens, LLAMA_CONTEXT) // LLAMA_KEYS) * LLAMA_KEYS
    together = max(1, LLAMA_ROWS // tokens)
    found = []
    for first in range(0, batch, together):
        texts = min(together, batch - first)
        for start in range(0, tokens, LLAMA_ROWS):
            stop = min(start + LLAMA_ROWS, tokens)
            keys = min(context, -(-stop // LLAMA_KEYS) * LLAMA_KEYS)
            found.append(Pass(texts=texts, rows=stop - start, keys=keys, last=stop == tokens))
    return tuple(found)


def product_operations(product: Product, one: Pass) -> int:
    """Operations of a product in a pass."""
    return 2 * one.count(product.rows) * product.columns * product.outputs


def attention_operations(attention: Attention, one: Pass) -> int:
    """q · kᵀ and the mixing of v: every query with every key, masked ones too."""
    queries = one.count(attention.queries)
    return 4 * queries * one.keys * attention.heads * attention.head_dim


def score_bytes(attention: Attention, one: Pass) -> int:
    """One number for each head, query and key."""
    return ACTIVATION_BYTES * one.count(attention.queries) * one.keys * attention.heads


def activation_bytes(work: Work, one: Pass) -> int:
    """What goes into and comes out of the products: norms, gates and residuals stand between these, and grow so."""
    return sum(
        ACTIVATION_BYTES * one.count(product.rows) * (product.columns + product.outputs)
        for product in work.products
        if not product.head
    )


def operations(work: Work, tokens: int, batch: int) -> dict[str, int]:
    """Operations by part: "products SCHEME", "output head", "attention"."""
    found: dict[str, int] = {}
    for one in passes(work.target, tokens, batch):
        for product in work.products:
            name = part_name(product)
            found[name] = found.get(name, 0) + product_operations(product, one)
        found["attention"] = found.get("attention", 0) + sum(attention_operations(a, one) for a in work.attentions)
    return found


def part_name(product: Product) -> str:
    """What a product is counted under."""
    return "output head" if product.head else f"products {product.scheme}"


def layer_attentions(layers: int, heads: int, head_dim: int, *, last: Rows) -> tuple[Attention, ...]:
    """One a layer, the last layer's queries as given."""
    kinds: Sequence[Rows] = [*[Rows.TOKEN] * (layers - 1), last]
    return tuple(Attention(queries=rows, heads=heads, head_dim=head_dim) for rows in kinds)
