"""Marks on two axes with their Pareto front: what latency reports and sweeps are both drawn with.

What was measured is filled and its line whole; what was estimated is hollow, dashed, and has a bar for its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from mlexport.report.pareto import front
from mlexport.report.svg import COLOURS, INK, MARKERS, MUTED, SURFACE, Marks, StyleSheet, new_figure, plotting, to_svg

# A wider span than this is drawn on a logarithmic axis
_LOG_FROM = 4
_MOST_LABELS = 24
_LABEL_HEIGHT, _DIGIT_WIDTH = 11, 7
_AWAY = 10
# Where a label may lie around its mark: right, left, above, below and between, in the order of preference
_PLACES = ((1, 0.7), (-1, 0.7), (1, -0.7), (-1, -0.7), (0, 1.1), (0, -1.1), (1.1, 0), (-1.1, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis counts.

    Attributes:
        show: a tick's value as text.
        benefit: more is better; a cost otherwise.
        room: share of a lone value that is left free around it.
    """

    label: str
    show: Callable[[float], str]
    benefit: bool = False
    room: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A mark.

    Attributes:
        low, high: the range of x; equal to it for what was measured.
        label: beside the mark where there is room; "" for none.
        look: number that colour and shape go by.
        title: what hovering shows.
    """

    x: float
    y: float
    low: float
    high: float
    measured: bool
    label: str
    look: int
    title: str


def colour(look: int) -> str:
    """A series' colour."""
    return COLOURS[look % len(COLOURS)]


def marker(look: int) -> str:
    """A series' shape; together with the colour different for 42 series."""
    return MARKERS[look % len(MARKERS)]


def dot_front(dots: Sequence[Dot], x: Axis, y: Axis) -> list[Dot]:
    """The dots that no other beats, by x."""
    costs = [(-d.x if x.benefit else d.x, -d.y if y.benefit else d.y) for d in dots]
    return sorted((d for d, best in zip(dots, front(costs), strict=True) if best), key=lambda d: (d.x, d.y))


def scatter(dots: Sequence[Dot], x: Axis, y: Axis, sheet: StyleSheet, *, title: str, text: str) -> str:
    """Dots, and for what was measured and what was estimated the line of those that no other beats."""
    with plotting():
        figure, marks = new_figure(), Marks()
        axes = figure.add_subplot()
        best: list[Dot] = []
        for measured in (True, False):
            own = dot_front([dot for dot in dots if dot.measured == measured], x, y)
            line = {"color": INK, "linewidth": 1.2, "linestyle": "-" if measured else (0, (4, 3)), "alpha": 0.55}
            axes.step([d.x for d in own], [d.y for d in own], where="post", zorder=1, **line)  # type: ignore[arg-type]
            best += own
        for dot in dots:
            draw_dot(axes, dot, marks, strong=dot in best)
        set_scale(axes, "x", [v for dot in dots for v in (dot.low, dot.high)], x)
        set_scale(axes, "y", [dot.y for dot in dots], y)
        order = [*best, *(dot for dot in dots if dot not in best)]
        place_labels(figure, axes, [d for d in order if d.label][:_MOST_LABELS], dots)
        return to_svg(figure, sheet, marks, title=title, text=text)


def draw_dot(axes: Axes, dot: Dot, marks: Marks, *, strong: bool) -> None:
    """One mark with its range; those on the front larger, with an edge."""
    own = colour(dot.look)
    if not dot.measured:
        axes.plot([dot.low, dot.high], [dot.y, dot.y], color=own, linewidth=1.4, alpha=0.7, zorder=2)
    (drawn,) = axes.plot(
        [dot.x],
        [dot.y],
        marker=marker(dot.look),
        markersize=8.5 if strong else 6.5,
        markerfacecolor=own if dot.measured else SURFACE,
        markeredgecolor=INK if strong and dot.measured else own,
        markeredgewidth=1 if dot.measured else 1.8,
        alpha=1 if strong else 0.75,
        linestyle="none",
        zorder=4 if strong else 3,
    )
    marks.add(drawn, dot.title)


def set_scale(axes: Axes, which: str, values: Sequence[float], axis: Axis) -> None:
    """Ticks at round values; logarithmic where the values span much and are all above zero."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > _LOG_FROM
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    if logarithmic:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        room = (high / low) ** 0.09
        set_limits(low / room, high * room)
    else:
        room = 0.12 * (high - low) or axis.room * abs(high) or 1.0
        set_limits(max(low - room, 0) if low >= 0 else low - room, high + room)
    ticks = axes.xaxis if which == "x" else axes.yaxis
    if logarithmic:
        ticks.set_major_locator(FixedLocator(round_values(*(axes.get_xlim() if which == "x" else axes.get_ylim()))))
        ticks.set_minor_locator(NullLocator())
        ticks.set_minor_formatter(NullFormatter())
    else:
        ticks.set_major_locator(MaxNLocator(5))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: axis.show(value)))
    if which == "x":
        axes.set_xlabel(axis.label)
    else:
        # Above the axis, where it takes no width and need not be turned
        axes.set_title(axis.label, fontsize=11, loc="left", pad=8)


def round_values(low: float, high: float, most: int = 6) -> list[float]:
    """Round values from `low` to `high` for a logarithmic axis: of 1, 2, 5 or of 1, 3 or of 1, at most so many."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**e for e in exponents for s in steps if low <= s * 10.0**e <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def place_labels(figure: Figure, axes: Axes, labelled: Sequence[Dot], dots: Sequence[Dot]) -> None:
    """Each label where it covers no mark and no other label; none where there is no such place."""
    figure.draw_without_rendering()
    where = [tuple(map(float, axes.transData.transform((dot.x, dot.y)))) for dot in dots]
    ends = axes.get_window_extent()
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in where]
    for dot in labelled:
        x, y = axes.transData.transform((dot.x, dot.y))
        wide, high = _DIGIT_WIDTH * len(dot.label) / 2, _LABEL_HEIGHT / 2
        for right, up in _PLACES:
            middle = (x + right * (_AWAY - 3 + wide), y + up * _AWAY)
            box = (middle[0] - wide, middle[1] - high, middle[0] + wide, middle[1] + high)
            inside = box[0] > ends.x0 and box[2] < ends.x1 + 4 and box[1] > ends.y0 and box[3] < ends.y1 + 4
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                offset = (middle[0] - x, middle[1] - y)
                style = {"ha": "center", "va": "center", "fontsize": 10, "color": INK}
                axes.annotate(dot.label, (dot.x, dot.y), offset, textcoords="offset points", **style)  # type: ignore[arg-type]
                break


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def swatch(look: int, sheet: StyleSheet, *, measured: bool) -> str:
    """A series' mark for a legend beside the plot, 26 by 14 units."""
    with plotting():
        figure = new_figure(26, 14)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.axis((0, 1, 0, 1))
        own = colour(look)
        axes.plot([0.05, 0.95], [0.5, 0.5], color=own, linestyle="-" if measured else (0, (3, 2)), linewidth=1.5)
        draw_dot(
            axes,
            Dot(x=0.5, y=0.5, low=0.5, high=0.5, measured=measured, label="", look=look, title=""),
            Marks(),
            strong=False,
        )
        return to_svg(figure, sheet, title="measured" if measured else "estimated", text=f"mark {look}")


def spread(places: Sequence[float], least: float) -> list[float]:
    """The places moved apart so that neighbours differ by `least`, in the same order, as little as that takes."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for _ in range(50):
        for lower, upper in pairwise(order):
            short = least - (moved[upper] - moved[lower])
            if short > 1e-6:
                moved[lower] -= short / 2
                moved[upper] += short / 2
    return moved


def frame_only_left(axes: Axes) -> None:
    """Rows of bars need no line below."""
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_color(MUTED)
