"""A report as Markdown (GitHub's tables): the page without its plots."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlexport.report import latency_tables as tables
from mlexport.report import sweep
from mlexport.report.latency import Report
from mlexport.report.tables import Table
from mlexport.report.words import share


def report_markdown(report: Report) -> str:
    """The text, with a line break at its end."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def escape(text: str) -> str:
    """A text that Markdown shows as it is, in a table too: names in files are not markup."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore inside a word is none of emphasis, and q4_k_m reads better so
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])|[\\`*|\[\]~$#!]", lambda match: f"\\{match[0]}", flat)


def table_markdown(table: Table) -> Iterator[str]:
    """Lines of a table, its note behind it."""
    yield "| " + " | ".join(escape(column.name) for column in table.columns) + " |"
    yield "|" + "|".join(" ---: " if column.number else " --- " for column in table.columns) + "|"
    for row in table.rows:
        yield "| " + " | ".join(escape(cell.text) for cell in row) + " |"
    yield ""
    if table.note:
        yield escape(table.note)
        yield ""


def _lines(report: Report) -> Iterator[str]:
    yield f"# {escape(report.title)}"
    yield ""
    yield f"{escape(report.created)} · {escape(report.tool)}"
    yield ""
    if report.rows or report.refused:
        yield from _summary(report)
    for device in report.devices:
        yield f"## {escape(device.name)}"
        yield ""
        for table in tables.device_tables(report, device.name):
            yield from _titled(table)
    if report.points:
        yield from _sweep(report)
    yield from _method(report)


def _summary(report: Report) -> Iterator[str]:
    yield "## Summary"
    yield ""
    for sentence in report.summary:
        yield f"{escape(sentence)}"
        yield ""
    if report.choices:
        yield from table_markdown(tables.recommended(report))
    for choice in report.choices:
        rest = " ".join((choice.text, *choice.others))
        yield f"- **{escape(choice.device)}**: {escape(choice.row.subject)}. {escape(rest)}"
    yield ""
    if report.warnings:
        yield "### Before you trust a figure"
        yield ""
        yield from _bullets(report.warnings)


def _sweep(report: Report) -> Iterator[str]:
    yield "## Sweep"
    yield ""
    yield from _bullets(tuple(sweep.sentences(report.points)))
    yield from _titled(sweep.steps_table(report.points))
    for device, points in sweep.by_device(report.points).items():
        yield from _titled(sweep.front_table(points, device))


def _method(report: Report) -> Iterator[str]:
    yield "## Environment and method"
    yield ""
    for device in report.devices:
        if device.method:
            yield f"### Measured: {escape(device.name)}"
            yield ""
            yield from _bullets(device.method)
        environment = tables.environment(report, device.name)
        if environment.rows:
            yield from table_markdown(environment)
    if report.method:
        yield "### Estimated"
        yield ""
        yield from _bullets(report.method)
    if report.rows:
        yield f"A recommended artifact keeps at least {share(report.min_retention)} of the full model's nDCG@10."
        yield ""
    yield from _titled(tables.sources(report))


def _titled(table: Table) -> Iterator[str]:
    yield f"### {escape(table.title)}"
    yield ""
    yield from table_markdown(table)


def _bullets(sentences: tuple[str, ...]) -> Iterator[str]:
    for sentence in sentences:
        yield f"- {escape(sentence)}"
    yield ""
