"""What each tensor costs at each precision: a table, and plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.table import Table

from mlexport.report.console import heading, line, megabytes
from mlexport.results import Sensitivity


def show_costs(console: Console, found: Sensitivity) -> None:
    """A row a tensor, the costliest first; a column of losses a scheme, and the bytes of the smallest and largest."""
    heading(console, f"{found.model} → {found.spec} · {found.target}: 1 - mean cosine with only that tensor rounded")
    rows = {
        name: {one.scheme: one for one in group} for name, group in groupby(found.costs, key=lambda one: one.tensor)
    }
    schemes = list(dict.fromkeys(one.scheme for one in found.costs))
    table = Table(box=None, pad_edge=False)
    table.add_column("tensor", overflow="fold")
    for name in (*schemes, "bytes"):
        table.add_column(name, justify="right")
    for name in sorted(rows, key=lambda name: -max(one.loss for one in rows[name].values())):
        costs = rows[name]
        losses = [f"{costs[scheme].loss:.1e}" if scheme in costs else "" for scheme in schemes]
        sizes = sorted(one.bytes for one in costs.values())
        table.add_row(name, *losses, f"{megabytes(sizes[0])} … {megabytes(sizes[-1])}")
    console.print(table)
    line(console, "measured on", f"{len(found.texts.texts)} texts of {found.texts.name} ({found.texts.sha256[:12]}…)")


def costs_data(found: Sensitivity) -> Mapping[str, object]:
    """The same for scripts."""
    texts = found.texts
    return {
        "model": found.model,
        "spec": found.spec,
        "target": found.target.value,
        "calibration": {"name": texts.name, "sha256": texts.sha256, "texts": len(texts.texts)},
        "costs": [asdict(one) for one in found.costs],
    }
