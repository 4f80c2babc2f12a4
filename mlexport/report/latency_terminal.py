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
    for refused in dict.fromkeys((one.device, one.subject, one.reason) for one in report.refused):
        line(console, "REFUSED", f"{refused[0]}, {refused[1]}: {refused[2]}", style="yellow")
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
