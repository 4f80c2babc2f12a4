"""The section of a page that shows a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mlexport.report import plots_sweep as draw
from mlexport.report import sweep
from mlexport.report.pareto import Point
from mlexport.report.plots import swatch
from mlexport.report.svg import StyleSheet
from mlexport.report.tables import Table
from mlexport.report.view import LegendEntry, Picture

# Rows and columns of the heat maps
_MAPS = (("layers", "dim"), ("layers", "rank"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepDevice:
    """A device's front; its name is empty where no latency was asked for."""

    name: str
    legend: tuple[LegendEntry, ...]
    pictures: tuple[Picture, ...]
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """What the template of a sweep shows."""

    sentences: tuple[str, ...]
    maps: tuple[Picture, ...]
    steps: Table
    devices: tuple[SweepDevice, ...]


def sweep_view(points: Sequence[Point], sheet: StyleSheet) -> SweepView:
    """Quality by two axes, what each axis buys, and the front of each device."""
    return SweepView(
        sentences=tuple(sweep.sentences(points)),
        maps=tuple(_maps(points, sheet)),
        steps=sweep.steps_table(points),
        devices=tuple(_device(name, own, points, sheet) for name, own in sweep.by_device(points).items()),
    )


def _maps(points: Sequence[Point], sheet: StyleSheet) -> list[Picture]:
    found = []
    for row, column in _MAPS:
        best = sweep.best_by(points, row, column)
        # One row or one column is a list, not a map
        if len({key[0] for key in best}) > 1 and len({key[1] for key in best}) > 1:
            svg = draw.quality_map(best, sweep.quality_of(points), sheet, row=row, column=column)
            what = "nDCG@10 kept, %" if sweep.quality_of(points) is sweep.retained else "cosine, %"
            caption = f"{what}: the best cut with these {row} and this {column}, whatever its precision and the rest."
            found.append(Picture(title=f"Best quality by {row} and {column}", svg=Markup(svg), caption=caption))
    return found


def _device(name: str, own: Sequence[Point], points: Sequence[Point], sheet: StyleSheet) -> SweepDevice:
    quality = sweep.quality_of(points)
    pictures = []
    if any(quality(point) is not None for point in own):
        caption = "Numbers: cuts that nothing beats in time, size and quality at once; the line: in these two alone."
        svg = Markup(draw.front_plot(own, sheet, device=name))
        pictures.append(Picture(title="Pareto front" + (f": {name}" if name else ""), svg=svg, caption=caption))
    kinds = sorted({point.ms_kind != "estimated" for point in own}, reverse=True)
    legend = [
        LegendEntry(name=precision, marks=tuple(Markup(swatch(look, sheet, measured=kind)) for kind in kinds))
        for look, precision in enumerate(draw.precisions(own))
    ]
    return SweepDevice(name=name, legend=tuple(legend), pictures=tuple(pictures), table=sweep.front_table(own, name))
