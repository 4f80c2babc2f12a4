"""The command about results that lie in files: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.errors import UsageError


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULT...", help="Files of `mlexport bench` and `estimate`, folders of `sweep`."),
    ],
    *,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", metavar="FILE", help="NAME.html, .md, .csv or .json; several by repeating."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="What stands above it.")] = None,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, help="Length of text that the recommendations are for.")
    ] = 128,
    min_retention: Annotated[
        float,
        typer.Option(
            "--min-retention", metavar="SHARE", min=0.0, max=1.0, help="Of the full model's nDCG@10, what is enough."
        ),
    ] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Make a page, a text or a table of measured and estimated latencies, and say what to ship where.

    \b
    mlexport report bench.json --out report.html
    mlexport report bench.json pixel-8.json --out report.html --out report.csv
    mlexport report out/sweep-phones-compared --out report.html
    mlexport report bench.json --tokens 256 --min-retention 0.98
    """
    from datetime import UTC, datetime  # noqa: PLC0415
    from importlib.metadata import version  # noqa: PLC0415

    from mlexport.report import console, latency_terminal, publish, sweep_points  # noqa: PLC0415
    from mlexport.report.described import describe  # noqa: PLC0415
    from mlexport.report.latency_build import build  # noqa: PLC0415
    from mlexport.report.latency_data import report_data  # noqa: PLC0415
    from mlexport.swept import read_sweep  # noqa: PLC0415

    outs = out or []
    forms = [publish.form_of(path) for path in outs]
    same = [path for path in outs if path.resolve() in {result.resolve() for result in results}]
    if same:
        raise UsageError(f"{same[0]} is one of the results: give --out another name")
    swept = [read_sweep(path) for path in results if sweep_points.is_points(path)]
    read = [publish.read_named(path) for path in results if not sweep_points.is_points(path)]
    found = build(
        read,
        described=describe(publish.profiles_of(read)),
        tool=f"mlexport {version('mlexport')}",
        created=datetime.now(UTC).astimezone().isoformat(timespec="minutes"),
        title=title,
        tokens=tokens,
        min_retention=min_retention,
        points=[point for sweep in swept for point in sweep_points.points_of(sweep)],
        more=[sweep_points.sweep_source(sweep) for sweep in swept],
    )
    publish.write_report([(path, form(found)) for path, form in zip(outs, forms, strict=True)])
    if as_json:
        print_json(report_data(found))
    else:
        latency_terminal.show_report(console.make_console(), found, outs)
