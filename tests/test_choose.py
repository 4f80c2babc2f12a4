"""The choice itself, on made-up cuts: against brute force, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlexport.choose.candidates import matching, scripts_of
from mlexport.choose.known import combined
from mlexport.choose.search import axes, covers, next_bodies
from mlexport.choose.words import impossible
from mlexport.chosen import (
    BEST,
    FASTEST,
    SMALLEST,
    Chosen,
    Limits,
    Option,
    misses,
    nearest,
    pick,
    relaxations,
    runners_up,
)
from mlexport.errors import UsageError
from mlexport.ran import LATENCY, RETENTION, SIZE
from mlexport.spec import parse_duration_ms
from mlexport.swept import LanguageShare


def made(**changed: object) -> Option:
    """An option with some numbers."""
    known: dict[str, object] = {
        "spec": "L8-D128", "layers": 8, "rank": None, "vocab": None, "dim": 128, "precision": "int8", "target": "onnx",
        "bytes": 10_000_000, "bytes_measured": True, "ms": 10.0, "retained": 0.97,
    }  # fmt: skip
    return Option(**(known | changed))  # type: ignore[arg-type]


OPTIONS = st.lists(
    st.builds(
        made,
        layers=st.integers(1, 12),
        dim=st.sampled_from([64, 128]),
        bytes=st.integers(1, 60).map(lambda mb: mb * 1_000_000),
        ms=st.one_of(st.none(), st.integers(1, 50).map(float)),
        retained=st.one_of(st.none(), st.integers(500, 1000).map(lambda n: n / 1000)),
    ),
    max_size=12,
)
LIMITS = st.builds(
    Limits,
    max_bytes=st.one_of(st.none(), st.integers(1, 60).map(lambda mb: mb * 1_000_000)),
    max_ms=st.one_of(st.none(), st.integers(1, 50).map(float)),
    min_retention=st.one_of(st.none(), st.integers(500, 1000).map(lambda n: n / 1000)),
)


def feasible(options: Sequence[Option], limits: Limits) -> list[Option]:
    """By the definition, one comparison after the other."""
    return [
        one
        for one in options
        if one.retained is not None
        and (limits.max_bytes is None or one.bytes <= limits.max_bytes)
        and (limits.max_ms is None or (one.ms is not None and one.ms <= limits.max_ms))
        and (limits.min_retention is None or one.retained >= limits.min_retention)
    ]


@given(OPTIONS, LIMITS)
def test_pick_is_the_best_of_all(options: list[Option], limits: Limits) -> None:
    able = feasible(options, limits)
    for objective in (BEST, SMALLEST, FASTEST):
        found = pick(options, limits, objective)
        assert (found is None) == (not able)
        if found is None:
            continue
        assert found in able
        assert (objective, found.retained) != (BEST, None)
        if objective == BEST:
            assert found.retained == max(one.retained or 0 for one in able)
        elif objective == SMALLEST:
            assert found.bytes == min(one.bytes for one in able)
        else:
            assert (found.ms or inf) == min(one.ms or inf for one in able)


@given(OPTIONS, LIMITS)
def test_relaxed_limits_let_something_in_and_smaller_changes_do_not(options: list[Option], limits: Limits) -> None:
    for way in relaxations(options, limits):
        name = {SIZE: "max_bytes", LATENCY: "max_ms", RETENTION: "min_retention"}[way.limit]
        assert not misses(way.option, replace(limits, **{name: way.value}))
        step = 0.0005 if way.limit == RETENTION else -0.5
        tighter = replace(limits, **{name: way.value + step})
        others = [one for one in options if one.retained is not None or limits.min_retention is None]
        assert not any(not misses(one, tighter) for one in others if way.limit != RETENTION or one.retained is not None)


def test_equal_to_the_shown_digit_takes_the_smaller() -> None:
    large, small = made(bytes=40_000_000, retained=0.99995, precision="f32"), made(bytes=11_000_000, retained=0.99965)
    assert pick([large, small], Limits(), BEST) == small
    assert pick([large, replace(small, retained=0.9985)], Limits(), BEST) == large


def test_fewer_numbers_where_files_are_alike() -> None:
    wide, narrow = made(dim=256, bytes=10_000_512), made(dim=64, bytes=10_000_000 - 100)
    assert pick([wide, narrow], Limits(min_retention=0.9), SMALLEST) == narrow


def chosen(options: Sequence[Option], limits: Limits) -> Chosen:
    """What nothing fits in."""
    ways = relaxations(options, limits)
    return Chosen(
        model="demo", profile="pixel-8-cpu", limits=limits, languages=(), objective=SMALLEST, option=None,
        runners_up=(), binds=tuple(one.limit for one in ways) or (SIZE, LATENCY), relaxed=tuple(ways),
        nearest=nearest(options, limits), options=2, fitting=0, fitting_known=0, measured=2, new=0, plan=(),
        notes=(), recipe=None,
    )  # fmt: skip


def test_impossible_demands_name_the_limit_and_the_smallest_changes() -> None:
    options = [
        made(spec="L1-D128", layers=1, bytes=2_900_000, ms=1.0, retained=0.7123),
        made(spec="L8-D128", bytes=9_871_234, ms=5.3, retained=0.9934),
    ]
    assert impossible(chosen(options, Limits(max_bytes=3_000_000, min_retention=0.99))) == (
        "no cut of demo on pixel-8-cpu meets --max-size 3.00 MB and --min-retention 99.0%: size and retention bind "
        "together. With the others kept, the smallest change among the 2 cuts measured is --max-size 9.88MB (L8-D128 "
        "onnx int8), or --min-retention 0.712 (L1-D128 onnx int8)"
    )


def test_one_limit_that_binds_is_named_alone() -> None:
    options = [made(bytes=9_000_000, ms=5.31)]
    assert impossible(chosen(options, Limits(max_bytes=3_000_000, max_ms=30.0))) == (
        "no cut of demo on pixel-8-cpu meets --max-size 3.00 MB and --max-latency 30 ms: size binds. With the others "
        "kept, the smallest change is --max-size 9.00MB (L8-D128 onnx int8)"
    )


def test_no_single_change_gives_the_nearest() -> None:
    options = [made(bytes=9_000_000, ms=5.31), made(bytes=90_000_000, ms=50.0)]
    assert impossible(chosen(options, Limits(max_bytes=6_000_000, max_ms=3.0))) == (
        "no cut of demo on pixel-8-cpu meets --max-size 6.00 MB and --max-latency 3 ms: size and latency bind "
        "together, and no one limit is enough to change. The nearest cut is L8-D128 onnx int8: --max-size 9.00MB, "
        "--max-latency 5.4ms"
    )


def test_nothing_measured_is_not_called_impossible() -> None:
    found = replace(chosen([made(retained=None)], Limits(max_ms=30.0)), fitting=2)
    assert impossible(found) == (
        "2 cuts of demo are within size and latency on pixel-8-cpu, but the retention of none is known: pass "
        "--measure 4, or --sweep FILE"
    )


def test_a_refused_cut_is_never_chosen() -> None:
    assert pick([made(refused="no such runtime")], Limits(), BEST) is None


def test_runners_up_say_why() -> None:
    first = made()
    others = [
        made(precision="f32", bytes=40_000_000, ms=30.0, retained=0.98),
        made(layers=1, spec="L1-D128", bytes=3_000_000, ms=1.0, retained=0.6),
    ]
    why = [one.why for one in runners_up([first, *others], first, Limits(min_retention=0.9), SMALLEST, 4)]
    assert why == ["30.00 MB larger, 3.0 times as long", "60.0% is under 90.0%"]


GRID = [
    made(spec=f"L{n}", layers=n, rank=r, precision=p, bytes=int(1e6 * (n * bits / 8 + (r or 64) / 16)), ms=n,
         retained=None)
    for n, r, (p, bits) in product((1, 2, 4, 8), (None, 16, 32), (("f16", 16), ("int8", 8), ("int4_b32", 4)))
]  # fmt: skip


@settings(max_examples=60)
@given(st.tuples(st.floats(0.01, 0.2), st.floats(0.01, 0.2), st.floats(0.001, 0.1)), st.floats(0.5, 0.99))
def test_search_to_its_end_finds_the_smallest(weights: tuple[float, float, float], enough: float) -> None:
    """Any retention that never falls with more of anything; measured until nothing matters any more."""

    def kept(one: Option) -> float:
        layers, rank, _, bits = axes(one)
        losses = (8 - layers) / 8, 0.0 if rank == inf else 16 / rank, 4 / bits
        return 1.0 - sum(weight * loss for weight, loss in zip(weights, losses, strict=True))

    limits = Limits(min_retention=enough, max_bytes=30_000_000)
    found: dict[tuple[object, ...], float] = {}
    while batch := next_bodies(GRID, found, limits, SMALLEST, 2):
        assert not any(one.body in found for one in batch)
        found |= {one.body: kept(one) for one in batch}
    best = min((one.bytes for one in GRID if one.bytes <= 3e7 and kept(one) >= enough), default=None)
    measured = [one.bytes for one in GRID if found.get(one.body, 0.0) >= enough]
    assert min(measured, default=None) == best
    assert len(found) < len(GRID) or best is None


def test_search_begins_with_the_largest_that_fits() -> None:
    [first] = next_bodies(GRID, {}, Limits(max_bytes=12_500_000), BEST, 1)
    assert (first.layers, first.rank, first.precision) == (8, None, "int8")
    assert all(covers(first, one) for one in GRID if one.layers == 8 and one.precision != "f16")


def test_times_parse() -> None:
    assert [parse_duration_ms(text) for text in ("30ms", "0.05s", "1.5 S")] == [30.0, 50.0, 1500.0]
    with pytest.raises(
        UsageError, match=r"^'30' is not a time: expected a number with ms or s, such as 30ms or 0.05s$"
    ):
        parse_duration_ms("30")


def test_languages_of_the_set() -> None:
    assert matching(["zh", "en"], ["en", "zh_CN"]) == ("zh_CN", "en")
    with pytest.raises(UsageError, match=r"no queries in it\. did you mean en"):
        matching(["eng"], ["en", "zh_CN"])
    assert (scripts_of(["en", "de"]), scripts_of(["ru", "pt_BR"]), scripts_of(["xx"])) == ("Latn", "Cyrl,Latn", "")


def test_languages_together_are_one_ratio() -> None:
    def share(language: str, queries: int, full: float, ndcg: float, half: float) -> LanguageShare:
        kept = ndcg / full
        return LanguageShare(cut=1, language=language, queries=queries, full_ndcg=full, ndcg=ndcg, retained=kept,
                             retained_low=kept - half, retained_high=kept + half)  # fmt: skip

    value, low, high = combined([share("en", 300, 0.5, 0.45, 0.03), share("de", 100, 0.8, 0.6, 0.04)]) or (
        0,
        None,
        None,
    )
    assert value == pytest.approx((300 * 0.45 + 100 * 0.6) / (300 * 0.5 + 100 * 0.8))
    weights = 150 / 230, 80 / 230
    half = ((weights[0] * 0.03) ** 2 + (weights[1] * 0.04) ** 2) ** 0.5
    assert (low, high) == (pytest.approx(value - half), pytest.approx(value + half))
    assert combined([share("en", 3, 0.5, 0.45, 0.03), replace(share("de", 1, 0.8, 0.6, 0.04), retained_low=None)]) == (
        pytest.approx((3 * 0.45 + 0.6) / 2.3), None, None,
    )  # fmt: skip
