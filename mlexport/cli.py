"""The command line: parse, call `pipeline`, print. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from mlexport.errors import MlexportError, UsageError, VerificationError

# As a shell reports a process that the signal ended
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_OUT_OF_MEMORY = 8

app = typer.Typer(
    name="mlexport",
    help="Cut, quantise, export and verify 3D-Matryoshka text-embedding models.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str, typer.Option("--model", "-m", help='"demo", a folder, or a hub id with an optional @REVISION.')]
ArtifactFolder = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="Folder that `mlexport slice` wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Cut, quantise, export and verify 3D-Matryoshka text-embedding models.

    Begin with: mlexport slice --layers 8 --dim 128 --out out/demo
    """
    if version:
        from importlib.metadata import version as installed  # noqa: PLC0415

        typer.echo(f"mlexport {installed('mlexport')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("slice")
def slice_command(
    *,
    model: Model = "demo",
    layers: Annotated[int | None, typer.Option("--layers", help="Decoder layers kept; all by default.")] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", help="Rank of the token table; the stored table by default.")
    ] = None,
    dim: Annotated[int | None, typer.Option("--dim", help="Numbers of a vector kept; all by default.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="gguf or hf; several by repeating, or with commas.  [default: gguf]"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", "-p", help="f32, f16, int8, int4, or the format's own: q8_0, q6_k, q5_k_m, q4_k_m, q4_0 …"
        ),
    ] = None,
    table_precision: Annotated[
        str | None, typer.Option("--table-precision", help="Precision of the token table alone.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; a name under out/ by default.")
    ] = None,
    allow_untrained: Annotated[
        bool, typer.Option("--allow-untrained", help="Allow a cut that was not trained.")
    ] = False,
    verify: Annotated[str, typer.Option("--verify", help="full, sample or off.")] = "full",
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact at the target.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with exact sizes; write nothing.")] = False,
    tensors: Annotated[bool, typer.Option("--tensors", help="With --dry-run: each tensor, not groups.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cut a sub-model, write it, verify it against the reference, and commit it.

    \b
    mlexport slice --layers 8 --dim 128 --target gguf --out out/demo
    mlexport slice -m codefuse-ai/ML-Embed-0.6B --layers 8 --rank 256 -t gguf,hf
    mlexport slice --layers 4 --precision int4 --dry-run
    """
    from mlexport import pipeline  # noqa: PLC0415
    from mlexport.report import data, terminal  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415

    targets = [name.strip() for entry in target or ["gguf"] for name in entry.split(",") if name.strip()]
    with Bars() as bars:
        plans = pipeline.plan_slice(
            model,
            layers=layers,
            rank=rank,
            dim=dim,
            targets=targets,
            precision=precision,
            table_precision=table_precision,
            out=out,
            allow_untrained=allow_untrained,
            progress=bars,
        )
        results = [] if dry_run else pipeline.write_slices(plans, verify=verify, force=force, progress=bars)
    if dry_run and as_json:
        _print_json([data.plan_data(plan) for plan in plans])
    elif dry_run:
        terminal.show_plan(terminal.make_console(), plans, tensors=tensors)
    elif as_json:
        _print_json([data.slice_data(result) for result in results])
    else:
        terminal.show_slice(terminal.make_console(), results)


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL|ARTIFACT", help='"demo", a folder, a hub id, or an artifact.')],
    tensors: Annotated[bool, typer.Option("--tensors", help="For an artifact: each tensor's row of the plan.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which cuts exist and were trained, tokenizer facts and sizes.

    \b
    mlexport inspect demo
    mlexport inspect out/demo --tensors
    """
    from mlexport import pipeline  # noqa: PLC0415
    from mlexport.artifact import Artifact  # noqa: PLC0415
    from mlexport.report import data, terminal  # noqa: PLC0415

    found = pipeline.inspect(model)
    if isinstance(found, Artifact):
        if as_json:
            _print_json(data.artifact_data(found, tensors=tensors))
        else:
            terminal.show_artifact(terminal.make_console(), found, tensors=tensors)
    elif as_json:
        _print_json(data.checkpoint_data(found))
    else:
        terminal.show_checkpoint(terminal.make_console(), found)


@app.command()
def embed(
    artifact: ArtifactFolder,
    *,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts to embed.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="One text a line, or .jsonl; - is standard input.")
    ] = None,
    query: Annotated[bool, typer.Option("--query", help="Put the query prompt before each text.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="FILE.npy (float32 [texts, dim]), FILE.json, or - for JSON lines."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn texts into vectors; JSON lines on standard output by default.

    \b
    mlexport embed out/demo "edit photos" --query
    mlexport embed out/demo --file texts.txt --out vectors.npy
    """
    from mlexport import opened  # noqa: PLC0415
    from mlexport.report import vectors as writer  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.search import read_texts  # noqa: PLC0415

    if bool(texts) == (file is not None):
        raise UsageError("give either texts or --file, and one of them")
    to_file = None if out is None or str(out) == "-" else out
    if to_file is not None:
        writer.check(to_file, force=force)
    chosen = list(texts or ()) if file is None else list(read_texts(file))
    with opened.open_artifact(artifact) as model, Bars() as bars:
        found = model.embed(chosen, query=query, progress=bars)
    if to_file is not None:
        writer.write(to_file, chosen, found)
    if as_json:
        _print_json(
            {
                "texts": len(chosen),
                "dim": model.dim,
                **({"out": str(out)} if to_file else writer.document(chosen, found)),
            }
        )
    elif to_file is not None:
        typer.echo(f"{to_file}: {len(chosen)} vectors of {model.dim} numbers", err=True)
    else:
        for line in writer.lines(chosen, found):
            typer.echo(line)


@app.command()
def search(
    artifact: ArtifactFolder,
    queries: Annotated[list[str], typer.Argument(metavar="QUERY...", help="What to look for, in any language.")],
    corpus: Annotated[
        Path | None,
        typer.Option(
            "--corpus", "-c", help="One text a line, or .jsonl with text, title, _id; the built-in set by default."
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", "-k", help="Results a query.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Find the documents nearest to each query.

    \b
    mlexport search out/demo "edit photos" "ゲーム"
    mlexport search out/demo --corpus notes.txt --top 3 "tax return"
    """
    from mlexport import opened  # noqa: PLC0415
    from mlexport.report import data, terminal  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415

    with Bars() as bars:
        result = opened.search(artifact, queries, corpus=corpus, top=top, progress=bars)
    if as_json:
        _print_json(data.search_data(result))
    else:
        terminal.show_search(terminal.make_console(), result)


@app.command()
def verify(
    artifact: ArtifactFolder,
    mode: Annotated[str, typer.Option("--mode", help="full, sample, or off for the files alone.")] = "full",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The checkpoint, if it is no longer where it was.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare an artifact's files with its manifest, and its vectors with the checkpoint it was cut from.

    \b
    mlexport verify out/demo
    mlexport verify out/demo --mode off
    """
    from mlexport import pipeline  # noqa: PLC0415
    from mlexport.artifact import read_artifact  # noqa: PLC0415
    from mlexport.report import data, terminal  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.results import failure  # noqa: PLC0415

    with Bars() as bars:
        report = pipeline.verify_artifact(artifact, mode, model=model, progress=bars)
    if as_json:
        _print_json(data.verification_data(str(artifact), report))
    else:
        terminal.show_verification(terminal.make_console(), read_artifact(artifact), report)
    if report is not None and report.status == "failed":
        raise VerificationError(f"verify failed for {artifact}: {failure(report)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: what a user can cause or mend is one line on standard error."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(args=arguments, prog_name="mlexport", standalone_mode=False) or 0
        sys.stdout.flush()
    except MlexportError as error:
        code = _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        code = _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except MemoryError:
        code = _fail("out of memory: free some, or choose a smaller cut", _OUT_OF_MEMORY)
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted; Python would complain once more at its own exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code == _INTERRUPTED:
        _fail("interrupted: nothing half-written was kept", code)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds the stack as Ctrl-C does, so that nothing half-written stays."""
    _fail("terminated: nothing half-written was kept", _TERMINATED)
    sys.exit(_TERMINATED)


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, indent=1))
