"""Intervals against SciPy, noise and machine names on made-up facts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mlexport.bench import here, noise, processor, stats
from mlexport.profiles import load_profile

QUIET = noise.Signs(
    medians_ns=[10e6, 10.2e6, 10.1e6],
    p50_ns=10e6,
    p90_ns=11e6,
    calls=100,
    steal=0.0,
    others=0.01,
    mhz=[2400, 2410, 2390],
    loop_ns=[1_000_000, 1_010_000, 990_000],
)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_students_quantile_is_scipys(level: float) -> None:
    for freedom in (1, 2, 3, 4, 5, 6, 9, 10, 29, 30, 101):
        expected = scipy_stats.t.ppf((1 + level) / 2, freedom)
        assert stats.student_quantile(freedom, level) == pytest.approx(expected, rel=1e-9)


def test_ratio_is_a_paired_t_interval_of_logarithms() -> None:
    random = np.random.default_rng(3)
    base = random.lognormal(2, 0.3, size=8)
    times = base * random.lognormal(0.5, 0.05, size=8)
    found = stats.paired_ratio(times.tolist(), base.tolist())
    reference = scipy_stats.ttest_rel(np.log(times), np.log(base)).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((np.exp(reference.low), np.exp(reference.high)))
    assert found.value == pytest.approx(scipy_stats.gmean(times / base))


def test_ratio_covers_the_truth_as_often_as_it_says() -> None:
    """Rounds that are slow as a whole, and noise of each contestant: 95 of 100 intervals hold the true ratio."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        slow = random.lognormal(0, 0.5, size=7)
        base, times = (slow * scale * random.lognormal(0, 0.1, size=7) for scale in (1.0, 1.3))
        found = stats.paired_ratio(times.tolist(), base.tolist())
        held += found.low <= 1.3 <= found.high
    # Three standard errors of 2,000 draws
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_round_that_is_slow_for_both_leaves_the_ratio_alone() -> None:
    found = stats.paired_ratio([20.0, 200.0, 22.0], [10.0, 100.0, 11.0])
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


@pytest.mark.parametrize(("times", "base"), [([1.0], [1.0]), ([1.0, 2.0], [1.0])])
def test_ratio_needs_pairs(times: list[float], base: list[float]) -> None:
    with pytest.raises(ValueError, match="expected as many on both sides, two at least"):
        stats.paired_ratio(times, base)


def test_rounds_and_their_medians() -> None:
    samples, ends = (5, 1, 9, 2, 4, 100), (3, 6)
    assert stats.rounds(samples, ends) == [(5, 1, 9), (2, 4, 100)]
    assert stats.medians(samples, ends) == [5, 4]


def test_a_quiet_run_says_nothing() -> None:
    assert noise.sentences(QUIET) == ()
    assert noise.sentences(replace(QUIET, steal=None, others=None, mhz=[None] * 3)) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steal": 0.031}, "The hypervisor took 3.1% of the processor's time (steal)."),
        ({"others": 0.25}, "Other processes took 25% of the processor's time."),
        ({"mhz": [2400, None, 1500]}, "The cores' frequency moved between 1,500 and 2,400 MHz."),
        (
            {"loop_ns": [1_000_000, 1_000_000, 1_300_000]},
            "The processor's speed changed: the same loop took 1.00 to 1.30 ms.",
        ),
        ({"medians_ns": [10e6, 10e6, 13e6]}, "The rounds' medians differ by 30% (10 to 13 ms)."),
        ({"p90_ns": 21e6}, "One call in ten took more than 2.1 times the median."),
    ],
)
def test_each_sign_of_noise_has_its_sentence(change: dict[str, object], sentence: str) -> None:
    assert noise.sentences(replace(QUIET, **change)) == (sentence,)


def test_few_calls_have_no_tail() -> None:
    assert noise.sentences(replace(QUIET, p90_ns=21e6, calls=10)) == ()


def test_ticks_of_proc_stat() -> None:
    # Columns as of proc(5): guest time is part of user
    found = processor.ticks("cpu  100 20 30 1000 50 5 6 7 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    assert found == processor.Ticks(busy=161, steal=7, total=1218)


def test_the_loop_takes_time() -> None:
    assert processor.loop_ns() > 0


# What machines say of themselves -> the profiles they may be measured as
MACHINES = {
    "Intel(R) Core(TM) Ultra 7 155H": {"core-ultra-155h-cpu"},
    "Intel(R) Core(TM) Ultra 7 258V": {"core-ultra-200v-cpu"},
    "Raspberry Pi 5 Model B Rev 1.0": {"raspberry-pi-5-cpu"},
    "Raspberry Pi 4 Model B Rev 1.5": set(),
    "AMD Ryzen 5 5600X 6-Core Processor": set(),
    "AMD Ryzen AI 9 HX 370 w/ Radeon 890M": {"ryzen-ai-9-hx-370-cpu"},
    "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super": {"jetson-orin-nano-cpu"},
    "Apple M4": {"apple-m4-cpu"},
    "Apple M1": set(),
    "Model: NVIDIA H200": {"h200-gpu"},
    "Model: NVIDIA H100 80GB HBM3": set(),
    "Tensor G3": {"pixel-8-cpu"},
    "SM8650": {"snapdragon-8-gen-3-cpu"},
    "AMD EPYC": set(),
}
NAMES = sorted(set().union(*MACHINES.values()))


@pytest.mark.parametrize("said", MACHINES)
def test_a_machine_is_the_device_it_says(said: str) -> None:
    assert len(NAMES) == 9
    assert {name for name in NAMES if here.resembles(load_profile(name), ["", said])} == MACHINES[said]


def test_any_machine_is_local() -> None:
    assert here.resembles(load_profile("local"), [])


def test_this_machine_has_a_name() -> None:
    assert any(here.names())
