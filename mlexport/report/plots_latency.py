"""The plots of a latency report, each as an <svg> element."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mlexport.report.latency import Row, Shown
from mlexport.report.plots import (
    Axis,
    Dot,
    colour,
    draw_dot,
    frame_only_left,
    marker,
    scatter,
    set_scale,
    spread,
)
from mlexport.report.svg import INK, SURFACE, WIDTH, Marks, StyleSheet, new_figure, plotting, to_svg
from mlexport.report.words import share, size, time

# Lines that can be told apart; the table has the others
MOST_LINES = 6
MOST_BARS = 14
_ROW_HEIGHT = 24
_NAME_LENGTH = 20


def _number(value: float) -> str:
    return f"{value:,.6g}"


MS = Axis(label="ms", show=_number)
MB = Axis(label="MB to ship", show=_number)
KEPT = Axis(label="search quality kept", show=lambda value: f"{100 * value:.4g}%", benefit=True, room=0.005)


def described(row: Row, shown: Shown) -> str:
    """What hovering over a row's mark shows."""
    span = "" if row.measured else f", between {time(row.low_ms, row.kind)} and {time(row.high_ms, row.kind)}"
    tail = (
        "" if row.times is None else f", p90 {time(row.times.p90_ms, row.kind)}, p99 {time(row.times.p99_ms, row.kind)}"
    )
    kept = "" if shown.subject.retained is None else f", keeps {share(shown.subject.retained)}"
    what = f"{shown.number}. {shown.name}: {time(row.ms, row.kind)} ms ({row.kind}{span}{tail})"
    return f"{what} at {row.tokens} tokens, {size(shown.subject.bytes)}{kept}"


def _dot(row: Row, shown: Shown, y: float) -> Dot:
    low, high = (row.ms, row.ms) if row.measured else (row.low_ms, row.high_ms)
    look = shown.number - 1
    own = {"measured": row.measured, "label": str(shown.number), "look": look, "title": described(row, shown)}
    return Dot(x=row.ms, y=y, low=low, high=high, **own)  # type: ignore[arg-type]


def quality_plot(rows: Sequence[tuple[Row, Shown]], sheet: StyleSheet, *, device: str) -> str:
    """Latency against what is kept of the full model; rows whose quality is known."""
    dots = [_dot(row, shown, shown.subject.retained) for row, shown in rows if shown.subject.retained is not None]
    text = (
        f"One mark an artifact on {device}; the line joins those that nothing faster beats. The table has the numbers."
    )
    return scatter(dots, MS, KEPT, sheet, title="Latency against search quality", text=text)


def size_plot(rows: Sequence[tuple[Row, Shown]], sheet: StyleSheet, *, device: str) -> str:
    """Latency against bytes."""
    dots = [_dot(row, shown, shown.subject.bytes / 1e6) for row, shown in rows]
    text = f"One mark an artifact on {device}; the line joins those that nothing faster and smaller beats."
    return scatter(dots, MS, MB, sheet, title="Latency against size", text=text)


def length_plot(series: Sequence[tuple[Shown, Sequence[Row]]], sheet: StyleSheet, *, device: str) -> str:
    """Latency by tokens of a text, a line an artifact and kind; bars from the median to p99, or the estimate's range.

    Args:
        series: rows of one artifact and kind each, one a length.
    """
    with plotting():
        figure, marks = new_figure(), Marks()
        axes = figure.add_subplot()
        for shown, rows in series:
            own, look = sorted(rows, key=lambda row: row.tokens), shown.number - 1
            measured = own[0].measured
            dashes = "-" if measured else (0, (4, 3))
            axes.plot([r.tokens for r in own], [r.ms for r in own], color=colour(look), linestyle=dashes, linewidth=1.6)
            for row in own:
                _draw_range(axes, row, look)
                (drawn,) = axes.plot(
                    [row.tokens],
                    [row.ms],
                    marker=marker(look),
                    markersize=6,
                    color=colour(look),
                    markerfacecolor=colour(look) if measured else SURFACE,
                    markeredgewidth=1.5,
                    zorder=3,
                )
                marks.add(drawn, described(row, shown))
        _finish_lengths(axes, series)
        figure.draw_without_rendering()
        _label_ends(axes, series)
        text = (
            f"One line an artifact on {device}. Bars: from the median to the 99th percentile of what was measured, the "
            "range of what was estimated. The table has the numbers."
        )
        return to_svg(figure, sheet, marks, title="Latency by length of the text", text=text)


def _draw_range(axes: Axes, row: Row, look: int) -> None:
    style = {"color": colour(look), "linewidth": 5 if row.measured else 3, "alpha": 0.35, "zorder": 2}
    axes.plot([row.tokens, row.tokens], [row.low_ms, row.high_ms], solid_capstyle="butt", **style)  # type: ignore[arg-type]


def _finish_lengths(axes: Axes, series: Sequence[tuple[Shown, Sequence[Row]]]) -> None:
    rows = [row for _, own in series for row in own]
    lengths = sorted({row.tokens for row in rows})
    set_scale(axes, "y", [v for row in rows for v in (row.low_ms, row.ms, row.high_ms)], MS)
    axes.set_xscale("log")
    # Room on the right for the numbers of the lines
    span = max(lengths) / min(lengths) if len(lengths) > 1 else 4
    axes.set_xlim(min(lengths) / span**0.06, max(lengths) * span**0.1)
    axes.xaxis.set_major_locator(FixedLocator(lengths if len(lengths) <= 8 else lengths[:: len(lengths) // 7]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axes.set_xlabel("tokens of a text")


def _label_ends(axes: Axes, series: Sequence[tuple[Shown, Sequence[Row]]]) -> None:
    """The number of each artifact at the right end of its line, moved apart where they would cover each other."""
    ends = [max(rows, key=lambda row: row.tokens) for _, rows in series]
    heights = [float(axes.transData.transform((row.tokens, row.ms))[1]) for row in ends]
    for (shown, _), row, old, new in zip(series, ends, heights, spread(heights, 11), strict=True):
        style = {"ha": "left", "va": "center", "fontsize": 10, "color": INK}
        axes.annotate(str(shown.number), (row.tokens, row.ms), (8, new - old), textcoords="offset points", **style)  # type: ignore[arg-type]


def memory_plot(rows: Sequence[tuple[Row, Shown]], sheet: StyleSheet, *, device: str) -> str:
    """Memory of the process, a bar an artifact: peak measured (whole) or estimated (hatched); a tick at what stays."""
    own = [(row, shown) for row, shown in rows if row.memory_high is not None][:MOST_BARS]
    with plotting():
        figure, marks = new_figure(WIDTH, 56 + _ROW_HEIGHT * len(own)), Marks()
        axes = figure.add_subplot()
        most = max(row.memory_high or 0 for row, _ in own) / 1e6
        for place, (row, shown) in enumerate(own):
            peak, stays = (row.memory_high or 0) / 1e6, (row.memory_low or 0) / 1e6
            tint = colour(shown.number - 1)
            face = {"facecolor": tint} if row.measured else {"facecolor": "none", "hatch": "////", "edgecolor": tint}
            (bar,) = axes.barh([place], [peak], height=0.62, zorder=2, **face)  # type: ignore[arg-type]
            found = (
                f"peak {size(row.memory_high)}, stays {size(row.memory_low)}" if row.measured else size(row.memory_high)
            )
            marks.add(bar, f"{shown.number}. {shown.name}: {found} ({row.kind})")
            if row.measured:
                axes.plot([stays, stays], [place - 0.31, place + 0.31], color=SURFACE, linewidth=2, zorder=3)
            axes.text(peak + most * 0.015, place, f"{peak:,.0f}", va="center", fontsize=10)
        axes.set_yticks(range(len(own)), [str(shown.number) for _, shown in own])
        axes.invert_yaxis()
        axes.set_xlim(0, most * 1.14)
        frame_only_left(axes)
        axes.set_xlabel("MB")
        text = (
            f"One bar an artifact on {device}: whole and with a notch for what stays if measured, hatched if estimated."
        )
        return to_svg(figure, sheet, marks, title="Memory of the process", text=text)


def overview_plot(rows: Sequence[tuple[Row, Shown]], sheet: StyleSheet) -> str:
    """The recommended artifact's latency on each device."""
    with plotting():
        figure, marks = new_figure(WIDTH, 60 + _ROW_HEIGHT * len(rows)), Marks()
        axes = figure.add_subplot()
        order = sorted(rows, key=lambda pair: pair[0].ms)
        for place, (row, shown) in enumerate(order):
            dot = _dot(row, shown, place)
            named = Dot(
                x=dot.x,
                y=dot.y,
                low=dot.low,
                high=dot.high,
                measured=dot.measured,
                label="",
                look=dot.look,
                title=f"{row.device}: {dot.title}",
            )
            draw_dot(axes, named, marks, strong=False)
            if row.times is not None:
                axes.plot([row.ms, row.high_ms], [place, place], color=colour(dot.look), linewidth=5, alpha=0.35)
        set_scale(axes, "x", [v for row, _ in order for v in (row.low_ms, row.high_ms)], MS)
        axes.set_yticks(range(len(order)), [_short(row.device) for row, _ in order])
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        text = "One row a device: filled if measured, with a bar up to p99; hollow with its range if estimated."
        return to_svg(figure, sheet, marks, title="The recommended artifact on each device", text=text)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
