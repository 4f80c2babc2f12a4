"""Percentiles and rates of measured times: what a benchmark judges by and what a report shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NS_PER_MS = 1e6
NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """A sample of times, in milliseconds.

    Attributes:
        count: times in the sample.
        p50_ms, p90_ms, p99_ms: percentiles; see `percentile`.
    """

    count: int
    mean_ms: float
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    def holds(self, percent: float) -> bool:
        """Whether the sample is large enough for a percentile: at least one time is expected beyond it.

        Of 20 times the 99th percentile lies between the two largest, which says little about the 99th percentile of
        the thing measured.
        """
        return percentile_holds(self.count, percent)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The percentile of a sample, in the sample's unit: linear between the two nearest order statistics.

    Definition 7 of Hyndman and Fan (1996), "Sample quantiles in statistical packages", as numpy, pandas and R have it.

    Raises:
        ValueError: the sample is empty, or `percent` is outside 0 to 100.
    """
    if not len(samples):
        raise ValueError("a percentile of no samples")
    return float(np.percentile(np.asarray(samples, dtype=np.float64), percent, method="linear"))


def percentile_holds(count: int, percent: float) -> bool:
    """Whether a sample of so many is large enough for the percentile: at least one value is expected beyond it."""
    return count * (100 - percent) >= 100


def times(samples_ns: Sequence[int]) -> Times:
    """Percentiles of times in nanoseconds.

    Raises:
        ValueError: there are none.
    """
    if not len(samples_ns):
        raise ValueError("a percentile of no samples")
    values = np.asarray(samples_ns, dtype=np.float64) / NS_PER_MS
    p50, p90, p99 = (float(value) for value in np.percentile(values, [50, 90, 99], method="linear"))
    return Times(
        count=len(values),
        mean_ms=float(values.mean()),
        min_ms=float(values.min()),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=float(values.max()),
    )


def per_second(count: int, wall_ns: int) -> float:
    """How many a second: `count` of anything (calls, texts, tokens) in `wall_ns` on the clock.

    Raises:
        ValueError: no time went by.
    """
    if wall_ns <= 0:
        raise ValueError(f"a rate over {wall_ns} ns")
    return count * NS_PER_S / wall_ns
