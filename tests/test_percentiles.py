"""Percentiles against Python's own statistics module, on samples of many shapes."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlexport.percentiles import per_second, percentile, percentile_holds, times

SAMPLES = st.lists(st.integers(min_value=1, max_value=10**12), min_size=2, max_size=300)


@given(SAMPLES)
def test_percentiles_are_those_of_the_statistics_module(samples: list[int]) -> None:
    cuts = statistics.quantiles([value / 1e6 for value in samples], n=100, method="inclusive")
    found = times(samples)
    assert (found.p50_ms, found.p90_ms, found.p99_ms) == pytest.approx((cuts[49], cuts[89], cuts[98]), rel=1e-9)
    assert found.mean_ms == pytest.approx(statistics.fmean(samples) / 1e6)
    assert (found.min_ms, found.max_ms, found.count) == (min(samples) / 1e6, max(samples) / 1e6, len(samples))
    assert percentile(samples, 90) / 1e6 == pytest.approx(found.p90_ms)


def test_one_time_is_every_percentile() -> None:
    found = times([3_000_000])
    assert (found.min_ms, found.p50_ms, found.p99_ms, found.max_ms) == (3, 3, 3, 3)


def test_a_percentile_needs_a_sample_that_reaches_it() -> None:
    assert percentile_holds(10, 90)
    assert not percentile_holds(9, 90)
    assert times(range(1, 101)).holds(99)
    assert not times(range(1, 100)).holds(99)


def test_rates_are_by_the_clock() -> None:
    assert per_second(50, 250_000_000) == 200
    with pytest.raises(ValueError, match="a rate over 0 ns"):
        per_second(1, 0)


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        times([])
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)
