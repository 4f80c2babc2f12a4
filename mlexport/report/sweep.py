"""What a sweep found, for a report: its fronts, its best quality by two axes, and what each axis buys. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from mlexport.report.pareto import Point, front
from mlexport.report.tables import Cell, Table, cells, columns
from mlexport.report.words import NONE, plural, share, size, time

MOST_FRONT_ROWS = 16
# An axis, and the words for its value; the whole of rank or vocabulary is the largest
AXES: Mapping[str, Callable[[Point], float | str]] = {
    "layers": lambda p: p.layers,
    "rank": lambda p: float("inf") if p.rank is None else p.rank,
    "dim": lambda p: p.dim,
    "vocab": lambda p: float("inf") if p.vocab is None else p.vocab,
    "precision": lambda p: p.precision,
    "target": lambda p: p.target,
}
_WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step on one axis, everything else the same: medians over all such pairs.

    Attributes:
        before, after: the axis's values; the step goes to the smaller files.
        quality: change of what is kept, as a share of the full model's; None where it was not measured.
        bytes, ms: after over before; None where unknown.
    """

    axis: str
    before: str
    after: str
    pairs: int
    quality: float | None
    bytes: float
    ms: float | None


Quality = Callable[[Point], float | None]


def retained(point: Point) -> float | None:
    """What is kept of the full model's nDCG@10."""
    return point.retained


def cosine(point: Point) -> float | None:
    """The mean cosine to the reference."""
    return point.cosine


def quality_of(points: Sequence[Point]) -> Quality:
    """The one measure that a sweep's points are judged by: what is kept, or the cosine where no point knows that."""
    return retained if any(point.retained is not None for point in points) else cosine


def by_device(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Points of each device, in the order of the points."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.device, []).append(point)
    return found


def point_front(points: Sequence[Point]) -> list[Point]:
    """Points of one device that no other beats in time, bytes and quality at once; by time, then bytes.

    Where there are times, points without one are left out; points without quality always are.
    """
    timed, quality = any(point.ms is not None for point in points), quality_of(points)
    known = [p for p in points if quality(p) is not None and (p.ms is not None or not timed)]
    costs = [(p.ms or 0.0, float(p.bytes), -(quality(p) or 0.0)) for p in known]
    return sorted((p for p, best in zip(known, front(costs), strict=True) if best), key=lambda p: (p.ms or 0, p.bytes))


def best_by(points: Sequence[Point], row: str, column: str) -> dict[tuple[float | str, float | str], Point]:
    """(value of `row`, value of `column`) -> the point of the best quality there, whatever its other axes are."""
    found: dict[tuple[float | str, float | str], Point] = {}
    quality = quality_of(points)
    for point in points:
        key, own = (AXES[row](point), AXES[column](point)), quality(point)
        if own is not None and (key not in found or own > (quality(found[key]) or 0)):
            found[key] = point
    return found


def value_name(value: float | str) -> str:
    """An axis's value in words."""
    if isinstance(value, str):
        return value
    return _WHOLE if value == float("inf") else f"{value:g}"


def steps(points: Sequence[Point]) -> Iterator[Step]:
    """What each step of each axis buys and costs, over all pairs of points that differ in nothing else.

    Values are ordered by the bytes they take, so a step always goes to smaller files, or to the next value where the
    bytes are the same. Only neighbouring values are compared.
    """
    for axis, of in AXES.items():
        groups: dict[object, dict[float | str, Point]] = {}
        for point in points:
            groups.setdefault(_others(point, axis), {})[of(point)] = point
        values = _ordered({of(point) for point in points}, groups)
        for before, after in pairwise(values):
            pairs = [(g[before], g[after]) for g in groups.values() if before in g and after in g]
            if pairs:
                yield _step(axis, (value_name(before), value_name(after)), pairs, quality_of(points))


def _others(point: Point, axis: str) -> Point:
    """The point with everything blank but its other axes and its device."""
    blank = replace(point, name="", bytes=0, retained=None, cosine=None, ms=None, ms_kind=None)
    return replace(blank, **{axis: "" if axis in ("precision", "target") else 0})  # type: ignore[arg-type]


def _ordered(values: set[float | str], groups: Mapping[object, Mapping[float | str, Point]]) -> list[float | str]:
    """The largest first: numbers by themselves, names by their median bytes."""
    if all(not isinstance(value, str) for value in values):
        return sorted(values, reverse=True)
    sizes = {v: median(g[v].bytes for g in groups.values() if v in g) for v in values}
    return sorted(values, key=lambda value: (-sizes[value], str(value)))


def _step(axis: str, values: tuple[str, str], pairs: Sequence[tuple[Point, Point]], quality: Quality) -> Step:
    kept = [(b - a) for x, y in pairs if (a := quality(x)) is not None and (b := quality(y)) is not None]
    # A measured time over an estimated one says nothing of the step
    timed = [y.ms / x.ms for x, y in pairs if x.ms and y.ms and x.ms_kind == y.ms_kind]
    return Step(
        axis=axis,
        before=values[0],
        after=values[1],
        pairs=len(pairs),
        quality=median(kept) if kept else None,
        bytes=median(y.bytes / x.bytes for x, y in pairs),
        ms=median(timed) if timed else None,
    )


def steps_table(points: Sequence[Point]) -> Table:
    """What each axis buys."""
    rows = [
        cells(one.axis, f"{one.before} → {one.after}", _percent(one.bytes), _percent(one.ms), _points(one.quality))
        + cells(f"{one.pairs:,}")
        for one in steps(points)
    ]
    note = (
        "Medians over all pairs of cuts that differ in this step alone. quality: points of the full model's nDCG@10, "
        "or of the cosine where retrieval was not measured."
    )
    names = columns("axis", "step", ">size", ">time", ">quality, points", ">pairs")
    return Table(title="What each axis buys", columns=names, rows=tuple(rows), note=note)


def _percent(ratio: float | None) -> str:
    return NONE if ratio is None else _signed(100 * (ratio - 1), 1) + "%"


def _points(change: float | None) -> str:
    return NONE if change is None else _signed(100 * change, 2)


def _signed(value: float, digits: int) -> str:
    """With its sign, a zero without one."""
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if float(text[1:]) == 0 else text


def front_table(points: Sequence[Point], device: str) -> Table:
    """The front of one device."""
    best = point_front(points)
    rows = []
    for number, point in enumerate(best[:MOST_FRONT_ROWS], start=1):
        kind = Cell(text=point.ms_kind or NONE, kind=point.ms_kind or "")
        ms = NONE if point.ms is None else time(point.ms, point.ms_kind or "")
        facts = (ms, size(point.bytes), share(point.retained), NONE if point.cosine is None else f"{point.cosine:.4f}")
        rows.append((Cell(text=f"{number}. {point.name}"), kind, *cells(*facts)))
    rest = len(best) - len(rows)
    more = f" {plural(rest, 'more cut is', 'more cuts are')} on it; the CSV has all." if rest > 0 else ""
    return Table(
        title=f"Not beaten{' on ' + device if device else ''}: {len(best)} of {plural(len(points), 'cut')}",
        columns=columns("<cut", "figure", ">ms", ">size", ">kept", ">cosine"),
        rows=tuple(rows),
        note="No other cut of the sweep is faster, smaller and better at once." + more,
    )


def sentences(points: Sequence[Point]) -> Iterator[str]:
    """What a manager reads of a sweep."""
    devices = [name for name in by_device(points) if name]
    where = f" on {plural(len(devices), 'device')}" if devices else ""
    yield f"The sweep has {plural(len(points), 'point')}{where}."
    told: set[str] = set()
    for one in steps(points):
        # The first step away from the whole; the table has the others
        if one.axis in ("layers", "rank", "dim", "vocab") and one.quality is not None and one.axis not in told:
            told.add(one.axis)
            took = "" if one.ms is None else f", time {_percent(one.ms)}"
            change = f"size {_percent(one.bytes)}{took}, quality {_points(one.quality)} points"
            yield f"{one.axis.capitalize()} from {one.before} to {one.after}: {change} (medians of {one.pairs} pairs)."
