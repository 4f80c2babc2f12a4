"""The command that makes every point of a recipe's grid: sweep."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json


@app.command("sweep")
def sweep_command(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A shipped recipe with a grid, or a path that ends in .yaml."),
    ],
    *,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value, such as grid.dim=64,128; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the results; out/sweep-NAME by default."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Worker processes of this machine.")
    ] = 1,
    executor: Annotated[str, typer.Option("--executor", metavar="NAME", help="local, ray or dask.")] = "local",
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="URL", help="A Ray or Dask that runs already; else one is started here."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="Shared folder or fsspec URL for artifacts and what workers share; the folder of --out by default.",
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep each artifact that passes, in the store.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start over, whatever lies in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the points with their planned bytes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure every point of a recipe's grid; run it again to go on where it was stopped.

    \b
    mlexport sweep phones-compared --set model=demo --dry-run
    mlexport sweep phones-compared --set model=demo --jobs 2 --out out/phones
    mlexport sweep mine.yaml --executor dask --address tcp://10.0.0.5:8786 --store s3://bucket/sweep
    """
    from mlexport.recipes import load_recipe  # noqa: PLC0415
    from mlexport.report import console, sweep_terminal  # noqa: PLC0415
    from mlexport.sweep import SweepOptions, plan_sweep, run_sweep  # noqa: PLC0415

    plan = plan_sweep(load_recipe(recipe, setting or ()))
    if dry_run:
        rows = [
            sweep_terminal.PlannedRow(**asdict(one.cut), spec=one.spec, bytes=one.bytes, refused=one.refused)
            for one in plan.cuts
        ]
        if as_json:
            print_json({"profiles": plan.profiles, "cuts": [asdict(row) for row in rows]})
        else:
            sweep_terminal.show_plan(console.make_console(), rows, len(plan.bodies), plan.profiles)
        return
    options = SweepOptions(
        out=out or Path("out") / f"sweep-{Path(recipe).stem}",
        jobs=jobs,
        executor=executor,
        address=address,
        store=store,
        keep=keep,
        force=force,
    )
    from mlexport.report.progress import SweepBar  # noqa: PLC0415

    with SweepBar() as bar:
        found = run_sweep(plan, options, bar)
    if as_json:
        print_json(sweep_terminal.sweep_data(found))
    else:
        sweep_terminal.show_sweep(console.make_console(), found)
