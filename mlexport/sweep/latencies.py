"""Latency of a sweep's points on the profiles that its recipe names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlexport.sweep.plan import SweepPlan
from mlexport.swept import Point, PointLatency

Found = tuple[Mapping[str, object], Sequence[PointLatency]]


def latencies_of(plan: SweepPlan, points: Sequence[Point]) -> list[Found]:
    """Columns and rows of every point that has a profile; none while nothing here estimates them."""
    return []
