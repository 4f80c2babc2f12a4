"""Estimates against published latencies, each predicted from the others: leave-one-out.

A unit's throughput is what its other rows imply by the estimator's own arithmetic, attention at the products' rate. How
much faster w8a16 is than f16 (on Hexagon) is shared by all units, and taken from every row but the one left out; so is,
in a second variant, how much slower than the products attention is (by kind of unit).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log

from published_latencies import ROWS, SHAPES, Row, Shape

from mlexport.estimate.figures import Figures, Rate
from mlexport.estimate.model import pieces
from mlexport.estimate.work import Lookup, Product, Rows, Work, layer_attentions
from mlexport.profile import Grade, Runtime
from mlexport.spec import Target

# Attention's throughput as a share of the products'
SHARES = tuple(0.1 * 2 ** (step / 2) for step in range(11))
BYTES = {"f32": 4.0, "f16": 2.0, "int8": 1.0, "w8a16": 1.0}
_RUNTIME = Runtime(name="litert", targets=(), precisions=(), source="as published", grade=Grade.PUBLISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A row with what the others say of it; None without a partner."""

    row: Row
    ms: float | None
    partners: tuple[str, ...]

    @property
    def error(self) -> float | None:
        """predicted / published - 1."""
        return None if self.ms is None else self.ms / self.row.ms - 1


@cache
def work_of(shape: Shape, precision: str) -> Work:
    """One call of an encoder, every token through every layer."""
    width, size = shape.heads * shape.head_dim, BYTES[precision]
    matrices = [
        ("q", shape.hidden, width),
        ("k", shape.hidden, shape.kv_width),
        ("v", shape.hidden, shape.kv_width),
        ("o", width, shape.hidden),
        *[(f"up{number}", shape.hidden, shape.mlp) for number in range(2 if shape.gated else 1)],
        ("down", shape.mlp, shape.hidden),
    ]
    products = [
        Product(
            name=f"layers.{layer}.{name}",
            scheme=precision,
            rows=Rows.TOKEN,
            columns=columns,
            outputs=outputs,
            bytes=int(size * columns * outputs),
        )
        for layer in range(shape.layers)
        for name, columns, outputs in matrices
    ]
    if shape.head:
        numbers = shape.hidden * shape.vocabulary
        products.append(
            Product(
                name="head",
                scheme=precision,
                rows=Rows.TOKEN,
                columns=shape.hidden,
                outputs=shape.vocabulary,
                bytes=int(size * numbers),
                head=True,
            )
        )
    row = int(size * shape.hidden)
    return Work(
        target=Target.HF,
        products=tuple(products),
        attentions=layer_attentions(shape.layers, shape.heads, shape.head_dim, last=Rows.TOKEN),
        lookups=(Lookup(name="table", scheme=precision, bytes=row, table_bytes=row * shape.vocabulary),),
        shape=None,
        operators=(),
        hidden=shape.hidden,
        vocabulary=shape.vocabulary,
    )


def predicted_ms(row: Row, throughput: float, share: float) -> float:
    """The estimator's milliseconds for a row at a throughput (TFLOP/s)."""
    work = work_of(SHAPES[row.model], row.precision)
    figures = Figures(
        runtime=_RUNTIME,
        products={row.precision: _rate(throughput)},
        bandwidth=_rate(row.bandwidth_gb_s),
        cached=False,
        attention=_rate(share * throughput),
        between=None,
        step_us=None,
        call_ms=_rate(row.overhead_ms),
        warnings=(),
    )
    return sum(piece.ms for piece in pieces(work, figures, row.tokens, 1))


def _rate(value: float) -> Rate:
    return Rate(
        name="", unit="", value=value, low=1, high=1, by_rows=(), grade=Grade.DERIVED, source="published latencies"
    )


@cache
def implied(row: Row, share: float) -> float:
    """TFLOP/s at which the estimator gives the row's own latency."""
    low, high = 1e-2, 1e2
    for _ in range(18):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if predicted_ms(row, middle, share) > row.ms else (low, middle)
    return low


def leave_one_out(rows: Sequence[Row] = ROWS, *, own_share: bool = False) -> list[Prediction]:
    """Each row predicted from the others.

    Args:
        own_share: attention has a throughput of its own, fitted; else that of the products, as in `estimate`.
    """
    return [_predict(row, [other for other in rows if other is not row], own_share=own_share) for row in rows]


def _predict(row: Row, others: Sequence[Row], *, own_share: bool) -> Prediction:
    share = best_share(row.kind, others) if own_share else 1.0
    same = [other for other in others if other.unit == row.unit]
    partners = [other for other in same if other.precision == row.precision]
    ratio = 1.0
    if not partners and row.precision == "w8a16":
        partners = [other for other in same if other.precision == "f16"]
        ratio = _w8a16_ratio(others, share)
    if not partners:
        return Prediction(row=row, ms=None, partners=())
    throughput = ratio * _mean(implied(other, share) for other in partners)
    names = tuple(f"{other.model} at {other.tokens}, {other.precision}" for other in partners)
    return Prediction(row=row, ms=predicted_ms(row, throughput, share), partners=names)


def best_share(kind: str, rows: Sequence[Row]) -> float:
    """Attention's share with which the rows of each unit and precision imply the nearest throughputs."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.kind == kind:
            groups.setdefault((row.unit, row.precision), []).append(row)
    several = [group for group in groups.values() if len(group) > 1]

    def spread(share: float) -> float:
        logs = [[log(implied(row, share)) for row in group] for group in several]
        return sum(statistics.pvariance(group) * len(group) for group in logs)

    return min(SHARES, key=spread) if several else 1.0


def _w8a16_ratio(rows: Sequence[Row], share: float) -> float:
    """Throughput in w8a16 over that in f16, of the same model on the same unit."""
    found = [
        implied(row, share) / implied(other, share)
        for row in rows
        for other in rows
        if row.precision == "w8a16"
        and other.precision == "f16"
        and (other.unit, other.model, other.tokens) == (row.unit, row.model, row.tokens)
    ]
    return _mean(found)


def _mean(values: Iterable[float]) -> float:
    """Geometric: errors of a throughput are factors."""
    return exp(statistics.fmean(log(value) for value in values))
