"""A sweep in a terminal: what is planned, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlexport.report.console import heading, line, megabytes
from mlexport.spec import show_ms
from mlexport.swept import DONE, ERROR, FAILED, REFUSED, Point, Sweep

_MOST_ROWS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """A cut of a dry run; see `mlexport.sweep.plan.PlannedCut`."""

    layers: int
    rank: int | None
    vocab: str | None
    dim: int
    precision: str
    target: str
    spec: str | None
    bytes: int | None
    refused: str | None


def show_plan(console: Console, cuts: Sequence[PlannedRow], bodies: int, profiles: Sequence[str | None]) -> None:
    """The points of a grid, with the exact bytes of their tensors."""
    possible = [cut for cut in cuts if cut.refused is None]
    table = _table(("cut",), ("target",), ("precision",), ("tensors", "right"))
    for cut in possible:
        size = "chosen later" if cut.bytes is None else megabytes(cut.bytes)
        table.add_row(cut.spec or "", cut.target, cut.precision, size)
    console.print(table)
    console.print()
    named = [name for name in profiles if name is not None]
    each = f", each on {len(named)} profiles ({', '.join(named)})" if named else ""
    line(console, "points", f"{len(possible):,} of {len(cuts):,} cuts can be made{each}")
    line(console, "encodings", f"{bodies:,}: cuts that differ in dim alone share one")
    for reason, count in Counter(cut.refused for cut in cuts if cut.refused is not None).most_common():
        line(console, "refused", f"{count:,}: {reason}")


def show_sweep(console: Console, sweep: Sweep) -> None:
    """The cuts that nothing beats in bytes and quality, what failed, and where everything lies."""
    points = _cuts(sweep.points)
    counts = Counter(point.status for point in points)
    done = [point for point in points if point.status == DONE]
    heading(console, f"{sweep.facts['title']} · {sweep.facts['model']}")
    best = front(done)
    if best:
        console.print(_front_table(best[:_MOST_ROWS]))
        more = f"; {len(best) - _MOST_ROWS} more are on it" if len(best) > _MOST_ROWS else ""
        measure = "kept nDCG@10" if any(point.retained is not None for point in done) else "mean cosine"
        line(console, "shown", f"{min(len(best), _MOST_ROWS)} of {len(done):,} cuts: no other has fewer bytes and a "
             f"better {measure}{more}")  # fmt: skip
    line(console, "points", _counted(counts))
    for status in (FAILED, ERROR, REFUSED):
        reasons = Counter(point.reason for point in points if point.status == status)
        for reason, count in reasons.most_common(3):
            line(console, status, f"{count:,}: {reason}", style="red" if status == ERROR else "")
    _show_latency(console, sweep)
    seconds = sum(step.seconds for step in sweep.steps)
    line(console, "time", f"{seconds:,.0f} s of work in {len(sweep.runs)} {'run' if len(sweep.runs) == 1 else 'runs'}")
    line(console, "written", f"{sweep.path}{_parquet(sweep)}")


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats in bytes and quality at once, the smallest first.

    Quality is the share of nDCG@10 kept, or the mean cosine where no point has that.
    """
    retained = any(point.retained is not None for point in points)
    known = [(point, point.retained if retained else point.mean_cosine) for point in points if point.bytes is not None]
    found: list[Point] = []
    best = float("-inf")
    for point, quality in sorted(known, key=lambda one: (one[0].bytes or 0, -(one[1] or 0.0))):
        if quality is not None and quality > best:
            best = quality
            found.append(point)
    return found


def sweep_data(sweep: Sweep) -> dict[str, Any]:
    """A sweep as JSON."""
    return {
        "file": str(sweep.path),
        **{key: sweep.facts[key] for key in ("title", "model", "recipe_sha256")},
        "points": [asdict(point) for point in sweep.points],
        "languages": [asdict(one) for one in sweep.languages],
        "latencies": [asdict(one) for one in sweep.latencies],
        "steps": [asdict(one) for one in sweep.steps],
        "runs": [asdict(one) for one in sweep.runs],
    }


def _cuts(points: Sequence[Point]) -> list[Point]:
    """One point for each cut."""
    return list({point.cut: point for point in reversed(points)}.values())[::-1]


def _front_table(points: Sequence[Point]) -> Table:
    table = _table(
        ("cut",), ("target",), ("precision",), ("bytes", "right"), ("kept nDCG@10", "right"), ("cosine", "right")
    )
    for point in points:
        kept = "–" if point.retained is None else f"{point.retained:.1%} {_interval(point)}"
        cosine = "–" if point.mean_cosine is None else f"{point.mean_cosine:.4f}"
        table.add_row(point.spec or "", point.target, point.precision, megabytes(point.bytes or 0), kept, cosine)
    return table


def _interval(point: Point) -> str:
    if point.retained_low is None or point.retained_high is None:
        return ""
    return f"[{100 * point.retained_low:.1f}–{100 * point.retained_high:.1f}]"


def _show_latency(console: Console, sweep: Sweep) -> None:
    if not any(point.profile for point in sweep.points):
        return
    for profile in dict.fromkeys(point.profile for point in sweep.points if point.profile is not None):
        own = [point for point in sweep.points if point.profile == profile]
        timed = [(point.latency_ms, point) for point in own if point.latency_ms is not None]
        if timed:
            ms, fastest = min(timed, key=lambda found: found[0])
            line(console, profile, f"{show_ms(ms)} ms at best ({fastest.latency_kind}): {fastest.label}")
        else:
            numbers = {point.point for point in own}
            notes = [one.note for one in sweep.latencies if one.point in numbers and one.note]
            line(console, profile, f"no latency: {notes[0]}" if notes else "no latency yet")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in counts.most_common())


def _parquet(sweep: Sweep) -> str:
    path = sweep.path.with_name("points.parquet")
    return f", {path.name} beside it" if path.exists() else ' (no Parquet: pip install "mlexport[sweep]")'


def _table(*columns: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, *justify in columns:
        table.add_column(Text(name), justify="right" if justify else "left", no_wrap=True)
    return table
