"""Time of a call: overhead, and for each part the longer of its operations and its bytes (a roofline).

Williams, Waterman, Patterson: Roofline, an insightful visual performance model (CACM 52, 2009). Where a profile was
calibrated, time of each step and of what stands between the products is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlexport.estimate.figures import Figures, Rate
from mlexport.estimate.work import (
    Pass,
    Product,
    Work,
    activation_bytes,
    attention_operations,
    part_name,
    passes,
    product_operations,
    score_bytes,
)
from mlexport.latency import Part

_TERA, _GIGA, _MEGA = 1e12, 1e9, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Time of one thing in one pass.

    Attributes:
        ms, low_ms, high_ms: with the figures as they are, at their best and at their worst.
    """

    name: str
    operations: float
    bytes: float
    ms: float
    low_ms: float
    high_ms: float
    bound: str


def pieces(work: Work, figures: Figures, tokens: int, batch: int) -> Iterator[Piece]:
    """Everything that a call spends time on."""
    runs = passes(work.target, tokens, batch)
    for one in runs:
        for product in work.products:
            yield _product(product, figures, one)
        for attention in work.attentions:
            operations, size = attention_operations(attention, one), score_bytes(attention, one)
            yield _timed("attention", figures.attention, operations / _TERA, one.keys, size=size)
        yield _lookup(work, figures, one)
        if figures.between is not None:
            moved = activation_bytes(work, one)
            yield _timed("between products", figures.between, moved / _GIGA, 1, size=moved, operations=0)
        if figures.step_us is not None:
            yield _fixed("overhead", figures.step_us, work.steps * figures.step_us.value / 1e3)
    if figures.call_ms is not None:
        yield _fixed("overhead", figures.call_ms, figures.call_ms.value)


def parts(found: list[Piece]) -> tuple[Part, ...]:
    """Pieces of a name together; what binds one is what binds most of its time."""
    names = dict.fromkeys(piece.name for piece in found)
    return tuple(_part(name, [piece for piece in found if piece.name == name]) for name in names)


def _part(name: str, found: list[Piece]) -> Part:
    bounds: dict[str, float] = {}
    for piece in found:
        bounds[piece.bound] = bounds.get(piece.bound, 0.0) + piece.ms
    return Part(
        name=name,
        giga_operations=sum(piece.operations for piece in found) / _GIGA,
        megabytes=sum(piece.bytes for piece in found) / _MEGA,
        ms=sum(piece.ms for piece in found),
        bound=max(bounds, key=lambda bound: bounds[bound]),
    )


def _product(product: Product, figures: Figures, one: Pass) -> Piece:
    operations, rows = product_operations(product, one), one.count(product.rows)
    name = part_name(product)
    if not rows:
        return Piece(name=name, operations=0, bytes=0, ms=0, low_ms=0, high_ms=0, bound="compute")
    computed = _timed(name, figures.products[product.scheme], operations / _TERA, rows, size=product.bytes)
    if figures.bandwidth is None or figures.cached:
        return computed
    size = product.bytes
    read = _timed(name, figures.bandwidth, size / _GIGA, 1, size=size, operations=operations, bound="bandwidth")
    return max(computed, read, key=lambda piece: piece.ms)


def _lookup(work: Work, figures: Figures, one: Pass) -> Piece:
    """A row for each token: bytes alone, and from memory, for no cache holds a table."""
    size = one.texts * one.rows * sum(lookup.bytes for lookup in work.lookups)
    if figures.bandwidth is None:
        return Piece(name="table", operations=0, bytes=size, ms=0, low_ms=0, high_ms=0, bound="bandwidth")
    return _timed("table", figures.bandwidth, size / _GIGA, 1, size=size, operations=0, bound="bandwidth")


def _timed(
    name: str, rate: Rate, amount: float, rows: int, *, size: float, operations: float | None = None, bound: str = ""
) -> Piece:
    """An amount at a rate a second, both in 10^12 or both in 10^9."""
    ms = 1e3 * amount / rate.at(rows)
    return Piece(
        name=name,
        operations=amount * _TERA if operations is None else operations,
        bytes=size,
        ms=ms,
        low_ms=ms / rate.high,
        high_ms=ms / rate.low,
        bound=bound or ("compute" if operations is None else "cache"),
    )


def _fixed(name: str, rate: Rate, ms: float) -> Piece:
    return Piece(
        name=name, operations=0, bytes=0, ms=ms, low_ms=ms * rate.low, high_ms=ms * rate.high, bound="overhead"
    )
