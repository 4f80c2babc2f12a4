"""The command that runs a recipe: run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.errors import DemandError

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A name that `mlexport recipes ls` lists, or a .yaml file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the recipe, such as cut.layers=4 or profiles=local,pixel-8-cpu; repeat for several.",
    ),
]


@app.command()
def run(
    recipe: RecipeName,
    *,
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for all of it; out/RECIPE by default.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make anew what lies there, whichever recipe made it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with exact sizes; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make what a recipe says: artifacts, what they keep, latencies, packs, a report.

    What lies there from the same recipe and inputs is not made again. Exit code 11: made, but a demand is not met.

    \b
    mlexport run android-search --set model=demo
    mlexport run my.yaml --set cut.layers=4 --set demands.max_size=60MB --dry-run
    """
    from mlexport import run as runs  # noqa: PLC0415
    from mlexport.demands import against, tightest  # noqa: PLC0415
    from mlexport.ran import plan_data, run_data  # noqa: PLC0415
    from mlexport.recipes import find_recipe, load_recipe  # noqa: PLC0415
    from mlexport.report import console, data  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.report.runs import show_run, show_run_plan  # noqa: PLC0415

    wanted = load_recipe(recipe, settings or ())
    with Bars() as bars:
        plan = runs.plan_run(wanted, find_recipe(recipe).stem, out=out, force=force, progress=bars)
        result = None if dry_run else runs.run_recipe(plan, force=force, progress=bars)
    if result is None:
        if as_json:
            print_json({**plan_data(plan), "artifacts": [data.plan_data(one) for one in plan.slices]})
        else:
            show_run_plan(console.make_console(), plan)
        return
    if as_json:
        print_json(run_data(result))
    else:
        show_run(console.make_console(), result)
    worst = tightest(result.checks)
    if worst is not None:
        where = "" if worst.profile is None else f" on {worst.profile}"
        raise DemandError(
            f"{plan.name} misses {len(result.missed)} of {len(result.checks)} demands; {worst.demand} binds: "
            f"{worst.file}{where}: {against(worst)}. Change {worst.advice}"
        )
