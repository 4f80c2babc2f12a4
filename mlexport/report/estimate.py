"""Estimates for people: a table of ranges, what binds, and how far to trust them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mlexport.latency import CALIBRATED, PUBLISHED, Estimated, EstimateResult
from mlexport.profile import Grade, Profile
from mlexport.report.console import heading, line, megabytes

# GB/s that no memory has: the fit gave bytes between the products no time
_NO_TIME = 1e5
# Parts named in the table, and the share of the time from which the second is
_SHOWN, _WORTH_SAYING = 2, 0.2
_GRADES = [grade.value for grade in Grade]
_WORDS = {
    Grade.ASSUMED: "a guess: some figure was assumed, and nothing compares it with a measurement",
    Grade.DERIVED: "from figures that were worked out of published ones",
    Grade.THIRD_PARTY: "from figures that a third party gives",
    Grade.PUBLISHED: "from figures that the maker publishes",
    Grade.MEASURED: "from figures measured on the device itself",
}


def show_estimates(console: Console, result: EstimateResult, out: Path | None) -> None:
    """A table a profile, what each rests on, and the limits that are passed."""
    sizes = {subject.name: subject.bytes for subject in result.subjects}
    for profile in dict.fromkeys(one.profile for one in result.estimates):
        estimates = [one for one in result.estimates if one.profile == profile]
        heading(console, f"{profile}: estimated, not measured")
        known = [one for one in estimates if one.refused is None]
        if known:
            console.print(_table(known, sizes))
            for name, text in _trust(known, result.method):
                line(console, name, text)
        for name, text in dict.fromkeys(_remarks(estimates)):
            line(console, name, text, style="yellow")
    if out is not None:
        line(console, "written", str(out))


def show_calibration(console: Console, profile: Profile, out: Path) -> None:
    """What the calibration found: throughput by runtime, scheme and rows, and what comes on top."""
    heading(console, f"{profile.device.chip}: measured")
    table = Table(box=None, pad_edge=False)
    table.add_column("runtime")
    table.add_column("scheme")
    times = profile.unit.times
    rows = sorted({at for one in times.values() for rate in one.schemes.values() for at in rate.by_tokens})
    for number in rows:
        table.add_column(f"{number} rows" if number > 1 else "1 row", justify="right")
    for runtime, one in times.items():
        for scheme, rate in one.schemes.items():
            found = [rate.by_tokens.get(number) for number in rows]
            table.add_row(runtime, scheme, *("" if value is None else f"{1e3 * value:,.0f}" for value in found))
    console.print(table)
    line(console, "unit", "10^9 operations a second; a multiply-add counts two")
    for runtime, one in times.items():
        between = f"{one.between_gb_s.value:.1f} GB/s" if one.between_gb_s.value < _NO_TIME else "no time"
        facts = f"{between} between products, {one.step_us.value:.1f} µs a step, {one.call_ms.value:.2f} ms a call"
        line(console, runtime, facts)
    line(console, "written", str(out))
    line(console, "next", f"mlexport estimate L8-D128 --target onnx --profile {out}")


def weakest(estimate: Estimated) -> str:
    """The grade of its most uncertain figure."""
    return max((figure.grade for figure in estimate.figures), key=_GRADES.index)


def binding(estimate: Estimated) -> str:
    """The parts that take most of the time, and what binds each."""
    total = sum(part.ms for part in estimate.parts) or 1.0
    largest = sorted(estimate.parts, key=lambda part: -part.ms)[:_SHOWN]
    kept = [part for number, part in enumerate(largest) if number == 0 or part.ms > _WORTH_SAYING * total]
    return ", ".join(f"{part.name} {part.ms / total:.0%} ({part.bound})" for part in kept)


def milliseconds(value: float) -> str:
    """Two digits that mean something: an estimate has no more."""
    if value >= 100:
        return f"{round(value, -1):,.0f}"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _table(estimates: Sequence[Estimated], sizes: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("model", "runtime"):
        table.add_column(name, overflow="fold")
    several = any(one.batch != 1 for one in estimates)
    for name in ("tokens", *(["batch"] if several else []), "estimated ms", "range", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("most of the time", overflow="fold")
    before = ""
    for one in estimates:
        assert one.ms is not None and one.low_ms is not None and one.high_ms is not None
        assert one.memory_bytes is not None
        shown = f"{one.subject} ({megabytes(sizes[one.subject])})" if one.subject != before else ""
        runtime = one.runtime if one.subject != before else ""
        before = one.subject
        span = f"{milliseconds(one.low_ms)}–{milliseconds(one.high_ms)}"
        cells = [str(one.tokens), *([str(one.batch)] if several else []), milliseconds(one.ms), span]
        table.add_row(shown, runtime, *cells, megabytes(one.memory_bytes), binding(one))
    return table


def _trust(estimates: Sequence[Estimated], method: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The weakest figures of a profile, and the check that applies."""
    grade = max((weakest(one) for one in estimates), key=_GRADES.index)
    names = dict.fromkeys(figure.name for one in estimates for figure in one.figures if figure.grade == grade)
    yield "weakest", f"{grade} ({', '.join(names)}): {_WORDS[Grade(grade)]}"
    check = CALIBRATED if grade == Grade.MEASURED.value else PUBLISHED
    for sentence in method:
        if sentence.startswith(f"checked ({check}): ") and grade != Grade.ASSUMED.value:
            yield "check", sentence.removeprefix(f"checked ({check}): ")


def _remarks(estimates: Sequence[Estimated]) -> Iterator[tuple[str, str]]:
    for one in estimates:
        if one.refused is not None:
            yield "refused", f"{one.subject}: {one.refused}"
        for sentence in one.warnings:
            yield "warning", sentence
