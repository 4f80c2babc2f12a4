"""The command that chooses a cut for an app: choose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.errors import DemandError


@app.command("choose")
def choose_command(
    *,
    profile: Annotated[str, typer.Option("--profile", metavar="NAME", help="Device profile, or PATH.yaml[:unit].")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="MODEL", help='"demo", a folder, or a hub id.')
    ] = "demo",
    max_latency: Annotated[
        str | None, typer.Option("--max-latency", metavar="TIME", help="Of a text of 128 tokens: 30ms, 0.05s.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="Of what a user ships: 60MB.")
    ] = None,
    min_retention: Annotated[
        float | None, typer.Option("--min-retention", metavar="SHARE", help="Of the full model's nDCG@10: 0.95.")
    ] = None,
    prefer: Annotated[
        str | None,
        typer.Option(
            "--prefer", metavar="WHAT", help="size, latency or quality; quality, or size with --min-retention."
        ),
    ] = None,
    languages: Annotated[
        str | None, typer.Option("--languages", metavar="CODE,…", help="Queries in these count alone: en,de.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", metavar="TARGET", help="Formats; all that the profile runs.")
    ] = None,
    sweep: Annotated[
        list[Path] | None,
        typer.Option("--sweep", metavar="FILE", help="Choose from this sweep; those under out/ by default."),
    ] = None,
    measure: Annotated[
        int | None,
        typer.Option("--measure", metavar="N", help="Models to measure at most; 4, or 0 where a sweep has an answer."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="Evaluation set in BEIR's layout; built in by default.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="Queries of the evaluation set; all by default.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Worker processes.")] = 1,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Recipe to write.")] = Path("chosen.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only: measure nothing, write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Choose the cut that fits an app, say why, and write the recipe that makes it. Exit code 11: nothing fits.

    \b
    mlexport choose --profile pixel-8-cpu --max-latency 30ms --max-size 60MB --dry-run
    mlexport choose --profile pixel-8-cpu --max-size 12MB --min-retention 0.95 --languages en,de --out app.yaml
    mlexport choose --profile local --sweep out/phones --min-retention 0.9 --prefer latency
    """
    from dataclasses import asdict  # noqa: PLC0415

    from mlexport.choose import ChooseRequest, choose  # noqa: PLC0415
    from mlexport.choose.words import impossible  # noqa: PLC0415
    from mlexport.chosen import Limits  # noqa: PLC0415
    from mlexport.report import console  # noqa: PLC0415
    from mlexport.report.choose import show_choice  # noqa: PLC0415
    from mlexport.report.progress import SweepBar  # noqa: PLC0415
    from mlexport.spec import parse_duration_ms, parse_size  # noqa: PLC0415

    request = ChooseRequest(
        model=model,
        profile=profile,
        limits=Limits(
            max_bytes=None if max_size is None else parse_size(max_size),
            max_ms=None if max_latency is None else parse_duration_ms(max_latency),
            min_retention=min_retention,
        ),
        prefer=prefer,
        languages=tuple(filter(None, (languages or "").replace(" ", "").split(","))),
        targets=tuple(filter(None, ",".join(target or []).split(","))),
        sweeps=tuple(sweep or ()),
        measure=measure,
        data=data,
        sample=sample,
        jobs=jobs,
        out=out,
        dry_run=dry_run,
        force=force,
    )
    with SweepBar() as bar:
        found = choose(request, bar)
    if as_json:
        print_json(asdict(found))
    else:
        show_choice(console.make_console(), found)
    if found.option is None and (not dry_run or found.binds):
        raise DemandError(impossible(found))
