"""Commands about artifacts: embed, search, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.errors import UsageError, VerificationError

ArtifactFolder = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="Folder that `mlexport slice` wrote.")]
VariantName = Annotated[
    str | None,
    typer.Option("--variant", metavar="NAME", help="One of several precisions in the folder, as `inspect` lists them."),
]


@app.command()
def embed(
    artifact: ArtifactFolder,
    *,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts to embed.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="One text a line, or .jsonl; - is standard input."),
    ] = None,
    query: Annotated[bool, typer.Option("--query", help="Put the query prompt before each text.")] = False,
    variant: VariantName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="FILE.npy (float32 or int8 [texts, dim], uint8 [texts, dim / 8]), FILE.json, or - for JSON lines.",
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors", metavar="PRECISION", help="f32, int8 or binary; by default what the artifact was made for."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn texts into vectors, by default as JSON lines.

    \b
    mlexport embed out/demo "edit photos" --query
    mlexport embed out/demo --file texts.txt --out vectors.npy
    """
    import numpy as np  # noqa: PLC0415

    from mlexport import opened  # noqa: PLC0415
    from mlexport.report import vectors as writer  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.search import read_texts  # noqa: PLC0415

    if bool(texts) == (file is not None):
        raise UsageError("texts and --file exclude each other" if texts else "no text: give texts, or --file FILE")
    to_file = None if out is None or str(out) == "-" else out
    if to_file is not None:
        writer.check(to_file, force=force)
    chosen = list(texts or ()) if file is None else list(read_texts(file))
    with opened.open_artifact(artifact, variant) as model, Bars() as bars:
        # Refused before anything is computed
        model.store(np.zeros((0, model.dim), dtype=np.float32), vectors)
        found = model.store(model.embed(chosen, query=query, progress=bars), vectors)
    if to_file is not None:
        writer.write(to_file, chosen, found)
    if as_json:
        print_json(
            {
                "texts": len(chosen),
                "dim": model.dim,
                "dtype": str(found.dtype),
                **({"out": str(out)} if to_file else writer.document(chosen, found)),
            }
        )
    elif to_file is not None:
        typer.echo(f"{to_file}: {len(chosen)} vectors of {model.dim} numbers, {found.dtype}", err=True)
    else:
        for line in writer.lines(chosen, found):
            typer.echo(line)


@app.command()
def search(
    *,
    artifact: ArtifactFolder,
    queries: Annotated[list[str], typer.Argument(metavar="QUERY...", help="What to look for, in any language.")],
    corpus: Annotated[
        Path | None,
        typer.Option(
            "--corpus",
            "-c",
            metavar="FILE",
            help="One text a line, or .jsonl with text, title, _id; the built-in set by default.",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", "-k", metavar="K", help="Results a query.")] = 5,
    variant: VariantName = None,
    as_json: AsJson = False,
) -> None:
    """Find the documents nearest to each query.

    \b
    mlexport search out/demo "edit photos" "ゲーム"
    mlexport search out/demo --corpus notes.txt --top 3 "tax return"
    """
    from mlexport import opened  # noqa: PLC0415
    from mlexport.report import console, data, terminal  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415

    with Bars() as bars:
        result = opened.search(artifact, queries, corpus=corpus, top=top, variant=variant, progress=bars)
    if as_json:
        print_json(data.search_data(result))
    else:
        terminal.show_search(console.make_console(), result)


@app.command()
def verify(
    artifact: ArtifactFolder,
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="full, sample, or off for the files alone.")
    ] = "full",
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="The checkpoint, if it is no longer where it was."),
    ] = None,
    variant: VariantName = None,
    as_json: AsJson = False,
) -> None:
    """Check an artifact's files, and its vectors against the checkpoint.

    \b
    mlexport verify out/demo
    mlexport verify out/demo --mode off
    """
    from mlexport import pipeline  # noqa: PLC0415
    from mlexport.artifact import read_artifact  # noqa: PLC0415
    from mlexport.report import artifacts, console, data  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.results import failure  # noqa: PLC0415

    with Bars() as bars:
        reports = pipeline.verify_artifact(artifact, mode, variant=variant, model=model, progress=bars)
    if as_json:
        print_json(data.verification_data(str(artifact), reports))
    else:
        artifacts.show_verification(console.make_console(), read_artifact(artifact), reports)
    for name, report in reports.items():
        if report.status == "failed":
            raise VerificationError(f"verify failed for {artifact} ({name}): {failure(report)}")
