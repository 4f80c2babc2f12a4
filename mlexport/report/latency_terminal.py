"""A latency report in short, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mlexport.report import latency_tables as tables
from mlexport.report import sweep
from mlexport.report.console import heading, line
from mlexport.report.latency import Report
from mlexport.report.tables import Table
from mlexport.report.words import listed


def show_report(console: Console, report: Report, written: Sequence[Path]) -> None:
    """The recommendations, what keeps figures from being trusted, and what was written."""
    heading(console, report.title)
    for sentence in report.summary:
        console.print(Text(sentence))
    if report.choices:
        console.print()
        console.print(table_for(tables.recommended(report)))
    if report.points:
        console.print()
        for sentence in sweep.sentences(report.points):
            console.print(Text(sentence))
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for one in report.refused:
        reasons.setdefault((one.device, one.reason), {})[one.subject] = None
    for (device, reason), names in reasons.items():
        line(console, "REFUSED", f"{device}, {listed(list(names))}: {reason}", style="yellow")
    for sentence in report.warnings:
        line(console, "note", sentence)
    for path in written:
        line(console, "written", f"{path}  ({path.stat().st_size:,} bytes)")
    if not written:
        line(console, "next", "the same with --out report.html")


def table_for(table: Table) -> RichTable:
    """A table as rich prints it."""
    found = RichTable(box=None, pad_edge=False)
    for column in table.columns:
        found.add_column(column.name, justify="right" if column.number else "left", overflow="fold")
    for row in table.rows:
        found.add_row(*(Text(cell.text) for cell in row))
    return found
