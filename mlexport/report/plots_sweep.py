"""The plots of a sweep, each as an <svg> element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mlexport.latency import ESTIMATED
from mlexport.report.pareto import Point
from mlexport.report.plots import Axis, Dot, scatter
from mlexport.report.plots_latency import KEPT, MB, MS
from mlexport.report.svg import HEAT, HEAT_INK, INK, MUTED, WIDTH, Marks, StyleSheet, new_figure, plotting, to_svg
from mlexport.report.sweep import Quality, point_front, quality_of, retained, value_name
from mlexport.report.words import share, size, time

_COSINE = Axis(label="cosine to the reference", show=lambda value: f"{value:.4g}", benefit=True, room=0.005)
_CELL_HEIGHT = 26


def front_plot(points: Sequence[Point], sheet: StyleSheet, *, device: str) -> str:
    """Quality against time, or against bytes where there are no times; colours by precision, names on the front."""
    timed, quality = any(point.ms is not None for point in points), quality_of(points)
    known = [p for p in points if quality(p) is not None and (p.ms is not None or not timed)]
    looks = {name: i for i, name in enumerate(sorted({p.precision for p in points}))}
    names = {id(point): str(number) for number, point in enumerate(point_front(points), start=1)}
    dots = []
    for point in known:
        x = point.ms if timed and point.ms is not None else point.bytes / 1e6
        dots.append(
            Dot(
                x=x,
                y=quality(point) or 0.0,
                low=x,
                high=x,
                measured=point.ms_kind != ESTIMATED,
                label=names.get(id(point), ""),
                look=looks[point.precision],
                title=_described(point),
            )
        )
    vertical = KEPT if quality is retained else _COSINE
    text = f"One mark a cut{' on ' + device if device else ''}; the line joins those that nothing beats in these two."
    what = "time" if timed else "size"
    return scatter(dots, MS if timed else MB, vertical, sheet, title=f"Quality against {what}", text=text)


def _described(point: Point) -> str:
    took = "" if point.ms is None else f", {time(point.ms, point.ms_kind or '')} ms ({point.ms_kind})"
    alike = "" if point.cosine is None else f", cosine {point.cosine:.4f}"
    kept = "" if point.retained is None else f", keeps {share(point.retained)}"
    return f"{point.name}: {size(point.bytes)}{took}{kept}{alike}"


def precisions(points: Sequence[Point]) -> list[str]:
    """The precisions, in the order of their looks in `front_plot`."""
    return sorted({point.precision for point in points})


def quality_map(
    best: Mapping[tuple[float | str, float | str], Point], quality: Quality, sheet: StyleSheet, *, row: str, column: str
) -> str:
    """The best quality by two axes of a sweep; see `mlexport.report.sweep.best_by`."""
    values = {key: quality(point) or 0.0 for key, point in best.items()}
    titles = {key: _described(point) for key, point in best.items()}
    title = f"Best quality by {row} and {column}"
    return heat_map(values, titles, sheet, title=title, row=row, column=column)


def heat_map(
    values: Mapping[tuple[float | str, float | str], float],
    titles: Mapping[tuple[float | str, float | str], str],
    sheet: StyleSheet,
    *,
    title: str,
    row: str,
    column: str,
) -> str:
    """Shares by two axes, each cell with its number in percent; numbers ascend to the right and upwards.

    Args:
        values: (row, column) -> a share; cells that are missing stay empty.
    """
    rows = sorted({key[0] for key in values}, key=_order)
    names = sorted({key[1] for key in values}, key=_order)
    low, high = min(values.values()), max(values.values())
    with plotting():
        figure, marks = new_figure(WIDTH, 64 + _CELL_HEIGHT * len(rows)), Marks()
        axes = figure.add_subplot()
        axes.grid(visible=False)
        for (r, c), value in values.items():
            step = round((len(HEAT) - 1) * (value - low) / (high - low)) if high > low else len(HEAT) - 1
            place = (names.index(c), rows.index(r))
            words = f"{100 * value:.1f}" if len(names) <= 8 else f"{100 * value:.0f}"
            _cell(axes, marks, place, step, (words, titles[r, c]))
        axes.set_xlim(0, len(names))
        axes.set_ylim(0, len(rows))
        axes.set_xticks([i + 0.5 for i in range(len(names))], [value_name(name) for name in names])
        axes.set_yticks([i + 0.5 for i in range(len(rows))], [value_name(name) for name in rows])
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set_xlabel(column)
        axes.set_title(f"{row}, and % kept", fontsize=11, loc="left", pad=8, color=INK)
        text = (
            f"From {100 * low:.1f}% to {100 * high:.1f}%; a cell is the best of all cuts with that {row} and {column}."
        )
        return to_svg(figure, sheet, marks, title=title, text=text)


def _cell(axes: Axes, marks: Marks, place: tuple[int, int], step: int, words: tuple[str, str]) -> None:
    patch = Rectangle(
        (place[0] + 0.02, place[1] + 0.03), 0.96, 0.94, facecolor=HEAT[step], edgecolor=MUTED, linewidth=0.3
    )
    axes.add_patch(patch)
    marks.add(patch, words[1])
    style = {"ha": "center", "va": "center", "fontsize": 10, "color": HEAT_INK[step]}
    axes.text(place[0] + 0.5, place[1] + 0.5, words[0], **style)  # type: ignore[arg-type]


def _order(value: float | str) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")
