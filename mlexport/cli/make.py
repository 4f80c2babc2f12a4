"""Commands about checkpoints: slice, inspect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.cli.options import AllowUntrained, Dim, Layers, Rank
from mlexport.errors import UsageError

Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="MODEL", help='"demo", a folder, or a hub id with an optional @REVISION.'),
]


@app.command("slice")
def slice_command(
    *,
    model: Model = "demo",
    layers: Layers = None,
    rank: Rank = None,
    dim: Dim = None,
    vocab: Annotated[
        list[str] | None,
        typer.Option(
            "--vocab",
            metavar="TOKENS",
            help="Part of the vocabulary kept: 32000 (the first ones), scripts:Latn,Cyrl (Unicode scripts; digits and "
            "punctuation too unless -digits, -punctuation are in the list, emoji if it is), or corpus:FILE (what its "
            "texts use); together by repeating. The bytes, special tokens and prompts always stay.",
        ),
    ] = None,
    vocab_coverage: Annotated[
        float | None,
        typer.Option(
            "--vocab-coverage",
            metavar="SHARE",
            help="Of a corpus's tokens, the share that stays, the most frequent first, such as 0.999; all by default.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="TARGET",
            help="gguf, hf, onnx, openvino or qnn; several by repeating, or with commas.  [default: gguf]",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            "-p",
            metavar="PRECISION",
            help="f32, f16, int8, int4, auto, the format's own: q8_0, q6_k, q5_k_m, q4_k_m, q4_0, iq4_xs, int4_b64, "
            "w8a16. Several in one folder by repeating, or with commas.",
        ),
    ] = None,
    table_precision: Annotated[
        str | None, typer.Option("--table-precision", metavar="PRECISION", help="Precision of the token table alone.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder to write; a name under out/ by default.")
    ] = None,
    allow_untrained: AllowUntrained = False,
    text_in: Annotated[
        bool, typer.Option("--text-in", help="A second file, tokenizer inside, that takes strings (onnx, openvino).")
    ] = False,
    static: Annotated[
        str | None,
        typer.Option(
            "--static",
            metavar="BATCHxTOKENS",
            help="Fixed shapes for NPUs (onnx, openvino, qnn), such as 1x128, the default of qnn.",
        ),
    ] = None,
    soc: Annotated[
        str | None,
        typer.Option(
            "--soc", metavar="CHIP", help="With --target qnn: the Snapdragon, such as sm8550, sm8650, sm8750."
        ),
    ] = None,
    htp_arch: Annotated[
        int | None,
        typer.Option("--htp-arch", metavar="N", help="With --target qnn: the Hexagon version in place of --soc."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME", help="Device profile that must fit: shapes, precisions, operators (intel-npu)."
        ),
    ] = None,
    vectors: Annotated[
        str,
        typer.Option(
            "--vectors",
            metavar="PRECISION",
            help="How you will store the vectors: f32, int8 (range calibrated) or binary.",
        ),
    ] = "f32",
    evaluate: Annotated[
        bool, typer.Option("--eval", help="Measure what each file keeps of the full model, on the built-in set.")
    ] = False,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="With --eval: only N queries; all by default.")
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="FILE|builtin",
            help="Round on these texts (one a line, or .jsonl), or on the built-in multilingual set.",
        ),
    ] = None,
    min_cosine: Annotated[
        float | None,
        typer.Option(
            "--min-cosine", metavar="C", help="With --precision auto: mean cosine to the reference, such as 0.99."
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size", metavar="SIZE", help="With --precision auto: size of the model's files, such as 60MB."
        ),
    ] = None,
    verify: Annotated[str, typer.Option("--verify", metavar="MODE", help="full, sample or off.")] = "full",
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact at the target.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with exact sizes; write nothing.")] = False,
    tensors: Annotated[bool, typer.Option("--tensors", help="With --dry-run: each tensor, not groups.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cut a sub-model, quantise, export and verify it.

    \b
    mlexport slice --layers 8 --dim 128 --target gguf --out out/demo
    mlexport slice -m codefuse-ai/ML-Embed-0.6B --layers 8 --rank 256 -t gguf,hf
    mlexport slice --layers 8 --vocab scripts:Latn,Cyrl --vocab 4000
    mlexport slice --layers 4 --precision int4 --dry-run
    mlexport slice --layers 8 --precision int4 --calibrate builtin
    mlexport slice --layers 8 --target onnx --precision auto --min-cosine 0.99
    mlexport slice --layers 8 --dim 128 --target qnn --soc sm8650 --static 1x64
    mlexport slice --layers 8 --dim 128 --target openvino --static 1x128 --profile intel-npu
    """
    from mlexport import pipeline  # noqa: PLC0415
    from mlexport.report import artifacts, console, data  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.request import SliceRequest  # noqa: PLC0415

    request = SliceRequest(
        model=model,
        layers=layers,
        rank=rank,
        dim=dim,
        vocab=vocab or (),
        vocab_coverage=vocab_coverage,
        targets=_names(target or ["gguf"]),
        precisions=_names(precision or []),
        table_precision=table_precision,
        out=out,
        allow_untrained=allow_untrained,
        text_in=text_in,
        static=static,
        vectors=vectors,
        calibrate=calibrate,
        min_cosine=min_cosine,
        max_size=max_size,
        soc=soc,
        htp_arch=htp_arch,
        profile=profile,
    )
    if sample is not None and not evaluate:
        raise UsageError("--sample goes with --eval: it says how many queries that asks")
    with Bars() as bars:
        plans = pipeline.plan_slice(request, progress=bars)
        results = (
            []
            if dry_run
            else pipeline.write_slices(
                plans, verify=verify, force=force, retention=evaluate, sample=sample, progress=bars
            )
        )
    if dry_run and as_json:
        print_json([data.plan_data(plan) for plan in plans])
    elif dry_run:
        artifacts.show_plan(console.make_console(), plans, tensors=tensors)
    elif as_json:
        print_json([data.slice_data(result) for result in results])
    else:
        artifacts.show_slice(console.make_console(), results)


def _names(entries: Sequence[str]) -> list[str]:
    """What was repeated, or written with commas."""
    return [name.strip() for entry in entries for name in entry.split(",") if name.strip()]


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL|ARTIFACT", help='"demo", a folder, a hub id, or an artifact.')],
    tensors: Annotated[bool, typer.Option("--tensors", help="For an artifact: each tensor's row of the plan.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show trained cuts, tokenizer facts and sizes.

    \b
    mlexport inspect demo
    mlexport inspect out/demo --tensors
    """
    from mlexport import pipeline  # noqa: PLC0415
    from mlexport.artifact import Artifact  # noqa: PLC0415
    from mlexport.report import artifacts, console, data, terminal  # noqa: PLC0415

    found = pipeline.inspect(model)
    if isinstance(found, Artifact):
        if as_json:
            print_json(data.artifact_data(found, tensors=tensors))
        else:
            artifacts.show_artifact(console.make_console(), found, tensors=tensors)
    elif as_json:
        print_json(data.checkpoint_data(found))
    else:
        terminal.show_checkpoint(console.make_console(), found)
