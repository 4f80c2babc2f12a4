"""A report as one HTML page: no script, no network, its own style sheet and nothing that a name in a file can break.

jinja2 escapes every text. The page's policy (CSP) lets a browser take the one <style> by its hash and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from mlexport.latency import ESTIMATED
from mlexport.report import latency_tables as tables
from mlexport.report import plots_latency as draw
from mlexport.report.latency import Choice, Device, Report, Row, Shown
from mlexport.report.plots import swatch
from mlexport.report.svg import StyleSheet
from mlexport.report.sweep_view import sweep_view
from mlexport.report.tables import Table
from mlexport.report.view import LegendEntry, Picture
from mlexport.report.words import share, time

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """What the template of a device shows.

    Attributes:
        key: the heading's id; about: what it is, in a line.
    """

    key: str
    device: Device
    kinds: tuple[str, ...]
    about: str
    choice: Choice | None
    legend: tuple[LegendEntry, ...]
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]


def report_page(report: Report) -> str:
    """The page, from <!doctype> to </html>."""
    sheet = StyleSheet()
    devices = [_device_view(report, device, number, sheet) for number, device in enumerate(report.devices, start=1)]
    overview = _overview(report, sheet)
    sweep = sweep_view(report.points, sheet) if report.points else None
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8") + sheet.css() + "\n"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    links = [("summary", "Summary")] if report.rows or report.refused else []
    links += [(view.key, view.device.name) for view in devices]
    links += [("sweep", "Sweep")] if sweep else []
    return environment.get_template("report.html").render(
        report=report,
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        links=[*links, ("method", "Environment and method")],
        recommended=tables.recommended(report),
        overview=overview,
        devices=devices,
        sweep=sweep,
        environments=[t for d in report.devices if (t := tables.environment(report, d.name)).rows],
        files=tables.sources(report),
        share=share,
        time=time,
    )


def _code(text: str) -> Markup:
    """The text escaped, with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _overview(report: Report, sheet: StyleSheet) -> list[Picture]:
    if len(report.choices) < 2:
        return []
    own = [(choice.row, report.shown(choice.row.subject)) for choice in report.choices]
    caption = (
        "One text of the length in the table below. Filled: measured, its bar ends at p99. Hollow: estimated, its line "
        "is the range."
    )
    drawn = Markup(draw.overview_plot(own, sheet))
    return [Picture(title="The recommended artifact, device by device", svg=drawn, caption=caption)]


def _device_view(report: Report, device: Device, number: int, sheet: StyleSheet) -> DeviceView:
    rows = report.of(device.name)
    kinds = tuple(dict.fromkeys(row.kind for row in rows))
    refused = any(one.device == device.name for one in report.refused)
    return DeviceView(
        key=f"device-{number}",
        device=device,
        kinds=(*kinds, *(["refused"] if refused and not kinds else [])),
        about=_about(device, rows),
        choice=next((choice for choice in report.choices if choice.device == device.name), None),
        legend=_legend(report, rows, sheet),
        pictures=tuple(_pictures(report, device.name, sheet)),
        tables=tuple(tables.device_tables(report, device.name)),
    )


def _about(device: Device, rows: Sequence[Row]) -> str:
    """Processor, unit, runtimes, where it was measured."""
    parts = [device.words] if device.words else []
    parts += [str(device.environment[key]) for key in ("processor",) if device.environment.get(key)]
    parts += [device.unit] if device.unit else []
    # A measurement knows the version of its runtime, an estimate names it alone
    versions = {row.runtime: row.version for row in sorted(rows, key=lambda row: row.measured)}
    parts += [f"{name} {version}".strip() for name, version in versions.items()]
    parts += (
        [f"measured {'on the machine that made the file' if device.where == 'here' else 'over ' + device.where}"]
        if device.where
        else []
    )
    return " · ".join(parts)


def _legend(report: Report, rows: Sequence[Row], sheet: StyleSheet) -> tuple[LegendEntry, ...]:
    """Numbers, marks and names of what the device's plots show."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        kinds = found.setdefault(row.subject, [])
        kinds += [row.measured] if row.measured not in kinds else []
    entries = []
    for shown in report.subjects:
        marks = [
            swatch(shown.number - 1, sheet, measured=one) for one in sorted(found.get(shown.name, []), reverse=True)
        ]
        if marks:
            entries.append(LegendEntry(name=f"{shown.number}. {shown.name}", marks=tuple(map(Markup, marks))))
    return tuple(entries)


def _pictures(report: Report, device: str, sheet: StyleSheet) -> list[Picture]:
    """Plots of the device that have something to show."""
    rows = [(row, report.shown(row.subject)) for row in report.reference(device)]
    if not rows:
        return []
    length, found = report.lengths[device], []
    known = [pair for pair in rows if pair[1].subject.retained is not None]
    # One artifact is a number, not a plot
    if _several(known):
        unknown = len({shown.name for _, shown in rows} - {shown.name for _, shown in known})
        left_out = f" {unknown} without a measured quality are left out." if unknown else ""
        caption = f"One text of {length} tokens. The line joins those that nothing is faster and better than.{left_out}"
        found.append(
            _picture("Latency against search quality", draw.quality_plot(known, sheet, device=device), caption)
        )
    if _several(rows):
        caption = f"One text of {length} tokens. The line joins those that nothing is faster and smaller than."
        found.append(_picture("Latency against size", draw.size_plot(rows, sheet, device=device), caption))
    series, left = _series(report, device)
    if series:
        caption = "Lines: medians, or estimates (dashed). Bars: up to p99, or the estimate's range." + (
            f" {left} more in the table." if left else ""
        )
        found.append(_picture("Latency by length of the text", draw.length_plot(series, sheet, device=device), caption))
    sized = sorted((p for p in rows if p[0].memory_high), key=lambda p: (p[1].number, p[0].kind == ESTIMATED))
    if sized:
        more = len(sized) - draw.MOST_BARS
        caption = "Peak of the process in MB; the notch is what stays. Hatched: estimated." + (
            f" {more} more in the table." if more > 0 else ""
        )
        found.append(_picture("Memory", draw.memory_plot(sized, sheet, device=device), caption))
    return found


def _several(rows: Sequence[tuple[Row, Shown]]) -> bool:
    return len({shown.name for _, shown in rows}) > 1


def _picture(title: str, svg: str, caption: str) -> Picture:
    return Picture(title=title, svg=Markup(svg), caption=caption)


def _series(report: Report, device: str) -> tuple[list[tuple[Shown, list[Row]]], int]:
    """Lines by length, those of the front first, and how many more there are."""
    found: dict[tuple[str, str], dict[int, Row]] = {}
    for row in report.of(device):
        if row.single:
            found.setdefault((row.subject, row.kind), {})[row.tokens] = row
    order = [(row.subject, row.kind) for row in report.reference(device)]
    # What was measured first, and of that what nothing beats
    order.sort(key=lambda key: (key[1] == ESTIMATED, (device, *key) not in report.front))
    lines = [(report.shown(key[0]), list(found[key].values())) for key in order if len(found[key]) > 1]
    return lines[: draw.MOST_LINES], max(len(lines) - draw.MOST_LINES, 0)
