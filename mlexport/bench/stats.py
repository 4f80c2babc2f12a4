"""What samples of several rounds say about two contestants; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number and the ends of its 95% interval."""

    value: float
    low: float
    high: float


def rounds(samples: Sequence[int], ends: Sequence[int]) -> list[Sequence[int]]:
    """The samples of each round; `ends` as in latency.Run.round_ends."""
    starts = [0, *ends[:-1]]
    return [samples[start:end] for start, end in zip(starts, ends, strict=True)]


def medians(samples: Sequence[int], ends: Sequence[int]) -> list[float]:
    """The median of each round, in the samples' unit."""
    return [float(np.median(part)) for part in rounds(samples, ends)]


def paired_ratio(times: Sequence[float], base: Sequence[float]) -> Interval:
    """How many times as long one takes as the other, from pairs of the same rounds.

    The geometric mean of the rounds' ratios with Student's interval of their logarithms: what made a whole round slow
    (frequency, neighbours) falls out of each ratio, and rounds, unlike the calls within one, are about independent.

    Args:
        times, base: a positive number a round, at least two rounds.

    Raises:
        ValueError: fewer rounds, or not as many on both sides.
    """
    if len(times) != len(base) or len(times) < 2:
        raise ValueError(f"{len(times)} and {len(base)} rounds: expected as many on both sides, two at least")
    logs = np.log(np.asarray(times, dtype=np.float64)) - np.log(np.asarray(base, dtype=np.float64))
    middle = float(logs.mean())
    half = student_quantile(len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Interval(value=math.exp(middle), low=math.exp(middle - half), high=math.exp(middle + half))


def student_quantile(freedom: int, level: float = LEVEL) -> float:
    """What |t| stays below with probability `level`, for an integer number of degrees of freedom.

    By bisection of the distribution's closed form (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3
    and 26.7.4).
    """
    low, high = 0.0, 1.0
    while _student_inside(high, freedom) < level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_inside(middle, freedom) < level else (low, middle)
    return high


def _student_inside(t: float, freedom: int) -> float:
    """P(|T| < t)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    # The terms of the series: powers of the cosine up to freedom - 2, odd or even as freedom is
    term, total = (cosine if odd else 1.0), 0.0
    for number in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (number + 1) / (number + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
