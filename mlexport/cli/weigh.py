"""The command about what artifacts keep: eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.cli.use import VariantName
from mlexport.errors import UsageError


@app.command("eval")
def eval_command(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT...", help="Folders that `mlexport slice` wrote.")
    ],
    *,
    variant: VariantName = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="MODEL", help="The full model, if not the one they were cut from."),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="DIR|builtin", help="Folder with corpus.jsonl, queries.jsonl and qrels/ as BEIR has them."
        ),
    ] = "builtin",
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Which qrels/NAME.tsv; test, or the only one.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="Only N queries, drawn with --seed; all by default.")
    ] = None,
    vectors: Annotated[
        list[str] | None,
        typer.Option(
            "--vectors",
            metavar="PRECISION",
            help="Weigh dims against stored vectors in f32, int8, binary; several by repeating, or with commas.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the sample and the intervals.")] = 0,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use nor keep the full model's vectors of earlier runs.")
    ] = False,
    mteb: Annotated[
        list[str] | None,
        typer.Option(
            "--mteb",
            metavar="TASK",
            help="Run mteb's TASK, or MODULE:CLASS, instead; the full model too with --against.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what artifacts keep of the full model.

    \b
    mlexport eval out/demo
    mlexport eval out/a out/b --data my-data --vectors f32,int8,binary
    mlexport eval out/demo --mteb NFCorpus --mteb STS17
    """
    if mteb:
        given = {"--data": data != "builtin", "--split": split, "--sample": sample, "--vectors": vectors}
        _run_mteb(
            artifacts,
            variant,
            _listed(mteb),
            against,
            [name for name, value in given.items() if value],
            as_json=as_json,
        )
        return
    from mlexport import evaluation  # noqa: PLC0415
    from mlexport.report import console, retention  # noqa: PLC0415
    from mlexport.report import data as plain  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415

    with Bars() as bars:
        found = evaluation.evaluate_artifacts(
            artifacts,
            variant=variant,
            against=against,
            data=data,
            split=split,
            sample=sample,
            vectors=_listed(vectors),
            seed=seed,
            cache=not no_cache,
            progress=bars,
        )
    if as_json:
        print_json(plain.evaluation_data(found))
    else:
        retention.show_evaluation(console.make_console(), found)


def _run_mteb(
    artifacts: list[Path],
    variant: str | None,
    tasks: list[str],
    against: str | None,
    others: list[str],
    *,
    as_json: bool,
) -> None:
    from mlexport import benchmark  # noqa: PLC0415
    from mlexport.report import console, retention  # noqa: PLC0415
    from mlexport.report import data as plain  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415

    if others:
        raise UsageError(f"{others[0]} does not go with --mteb: a task brings its own data")
    with Bars() as bars:
        found = benchmark.run_tasks(artifacts, tasks, variant=variant, against=against, progress=bars)
    if as_json:
        print_json(plain.benchmark_data(found))
    else:
        retention.show_benchmark(console.make_console(), found)


def _listed(entries: list[str] | None) -> list[str]:
    """Names given by repeating an option, or with commas."""
    return [name.strip() for entry in entries or () for name in entry.split(",") if name.strip()]
