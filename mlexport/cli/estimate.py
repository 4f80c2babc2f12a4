"""Commands about latency that was not measured: estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.cli.options import AllowUntrained
from mlexport.errors import UsageError

_REFUSED = 2
_NO_CUT = "For a cut that was not made: "


@app.command()
def estimate(
    subjects: Annotated[
        list[str],
        typer.Argument(metavar="ARTIFACT|SPEC…", help="Folders of artifacts, or cuts not yet made, such as L8-D128."),
    ],
    *,
    profile: Annotated[
        list[str],
        typer.Option("--profile", metavar="NAME", help="Device profile, or PATH.yaml[:unit]; several by repeating."),
    ],
    tokens: Annotated[
        str, typer.Option("--tokens", metavar="N,…", help="Tokens of a text, the end token included.")
    ] = "16,32,64,128,256,512",
    batch: Annotated[str, typer.Option("--batch", metavar="N,…", help="Texts in a call.")] = "1",
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Of an artifact: this model file alone.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="MODEL", help=_NO_CUT + '"demo", a folder, or a hub id.')
    ] = "demo",
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", metavar="TARGET", help=_NO_CUT + "gguf, onnx, openvino or hf.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", "-p", metavar="PRECISION", help=_NO_CUT + "as for slice.")
    ] = None,
    table_precision: Annotated[
        str | None, typer.Option("--table-precision", metavar="PRECISION", help=_NO_CUT + "of the token table alone.")
    ] = None,
    vocab: Annotated[
        list[str] | None, typer.Option("--vocab", metavar="TOKENS", help=_NO_CUT + "part of the vocabulary kept.")
    ] = None,
    static: Annotated[
        str | None, typer.Option("--static", metavar="BATCHxTOKENS", help=_NO_CUT + "fixed shapes, for NPUs.")
    ] = None,
    allow_untrained: AllowUntrained = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the result as JSON, for `report`.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate latency on devices that are not at hand: from operations counted in the file, and a device profile.

    \b
    mlexport estimate out/demo --profile raspberry-pi-5
    mlexport estimate L8-D128 -t onnx -p int8 --profile pixel-9-cpu --profile snapdragon-8-elite-cpu --tokens 128
    mlexport estimate L8-D128 -t onnx -p f32 --static 1x128 --profile snapdragon-8-elite-npu
    mlexport estimate out/demo --profile my-laptop.yaml --out estimate.json
    """
    import json  # noqa: PLC0415

    from mlexport.latency import check_latency_file, latency_json, write_latency  # noqa: PLC0415
    from mlexport.pipeline.estimate import EstimateRequest, estimate_latency  # noqa: PLC0415
    from mlexport.report import console  # noqa: PLC0415
    from mlexport.report import estimate as shown  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.request import SliceRequest  # noqa: PLC0415

    cut = SliceRequest(
        model=model,
        targets=_words(target or ["gguf"]),
        precisions=_words(precision or []),
        table_precision=table_precision,
        vocab=vocab or (),
        static=static,
        allow_untrained=allow_untrained,
    )
    request = EstimateRequest(
        subjects=subjects,
        profiles=_words(profile),
        tokens=_numbers("--tokens", tokens),
        batches=_numbers("--batch", batch),
        variant=variant,
        cut=cut,
    )
    if out is not None:
        check_latency_file(out, force=force)
    with Bars() as bars:
        result = estimate_latency(request, progress=bars)
    if out is not None:
        write_latency(result, out)
    if as_json:
        print_json(json.loads(latency_json(result)))
    else:
        shown.show_estimates(console.make_console(), result, out)
    if all(one.refused for one in result.estimates):
        raise typer.Exit(_REFUSED)


@app.command("calibrate-device")
def calibrate_device(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(metavar="[ARTIFACT…]", help="Artifacts of your own to calibrate on, too.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Profile to write, ending in .yaml.")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", metavar="TARGET", help="onnx, openvino, gguf; those installed by default."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="Turns that each model gets.")] = 3,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Time a few models on this machine's CPU, and write a profile that `estimate` takes. Ten minutes; leave it alone.

    \b
    mlexport calibrate-device --out my-laptop.yaml
    mlexport estimate L8-D128 -t onnx -p int8 --profile my-laptop.yaml
    """
    from mlexport.pipeline.calibrate_device import calibrate_device as calibrate  # noqa: PLC0415
    from mlexport.report import console  # noqa: PLC0415
    from mlexport.report import estimate as shown  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415

    with Bars() as bars:
        profile = calibrate(
            out,
            artifacts=artifacts or (),
            targets=_words(target or []),
            rounds=rounds,
            force=force,
            progress=bars,
        )
    if as_json:
        print_json(profile.device.model_dump(mode="json"))
    else:
        shown.show_calibration(console.make_console(), profile, out)


def _words(entries: list[str]) -> list[str]:
    return [word.strip() for entry in entries for word in entry.split(",") if word.strip()]


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(word) for word in _words([text])]
    except ValueError:
        raise UsageError(f"{option} is '{text}': expected numbers with commas between, such as 16,128,512") from None
