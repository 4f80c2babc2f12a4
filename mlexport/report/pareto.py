"""What nothing beats: the Pareto front of rows of costs, and the points of a sweep. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Rows compared with all others at a time: a block of 512 × 100,000 × 3 comparisons is 150 MB
_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A cut in one form on one device, as a sweep found it.

    Attributes:
        name: short and unique on its device, such as "L8-R128-D128 onnx int8".
        device: name of a profile; "" where no latency was asked for.
        rank: None keeps the stored table.
        vocab: tokens kept; None keeps all.
        bytes: what a user ships.
        retained: share of the full model's nDCG@10; None where it was not measured.
        cosine: mean cosine to the reference; None where it was not verified.
        ms: median latency, of one text of the sweep's length; None where there is none.
        ms_kind: "measured" or "estimated"; None where there is no latency.
    """

    name: str
    device: str
    layers: int
    rank: int | None
    dim: int
    vocab: int | None
    precision: str
    target: str
    bytes: int
    retained: float | None
    cosine: float | None
    ms: float | None
    ms_kind: str | None


def front(costs: Sequence[Sequence[float]]) -> tuple[bool, ...]:
    """Which rows nothing beats: no other row is at most as large in every column and smaller in one.

    Equal rows are on the front together. A benefit is a cost with its sign changed.

    Raises:
        ValueError: a cost is not a finite number.
    """
    if not costs:
        return ()
    table = np.asarray(costs, dtype=np.float64)
    if not np.isfinite(table).all():
        raise ValueError("a Pareto front needs finite costs")
    found = np.empty(len(table), dtype=bool)
    for start in range(0, len(table), _BLOCK):
        rows = table[start : start + _BLOCK, None]
        beaten = np.all(table <= rows, axis=2) & np.any(table < rows, axis=2)
        found[start : start + _BLOCK] = np.logical_not(np.any(beaten, axis=1))
    return tuple(bool(value) for value in found)
