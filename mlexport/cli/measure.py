"""Commands that measure: sensitivity."""

from __future__ import annotations

from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.cli.options import AllowUntrained, Dim, Layers, Rank


@app.command()
def sensitivity(
    *,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help='"demo", a folder, or a hub id with an optional @REVISION.')
    ] = "demo",
    layers: Layers = None,
    rank: Rank = None,
    dim: Dim = None,
    target: Annotated[str, typer.Option("--target", "-t", metavar="TARGET", help="gguf, onnx or openvino.")] = "gguf",
    calibrate: Annotated[
        str, typer.Option("--calibrate", metavar="FILE|builtin", help="Texts to measure with, one a line, or .jsonl.")
    ] = "builtin",
    allow_untrained: AllowUntrained = False,
    as_json: AsJson = False,
) -> None:
    """Measure what each tensor costs at each precision, one tensor at a time.

    \b
    mlexport sensitivity demo --layers 8 --target gguf
    """
    from mlexport import pipeline  # noqa: PLC0415
    from mlexport.report import console, costs  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415
    from mlexport.request import SliceRequest  # noqa: PLC0415

    request = SliceRequest(
        model=model,
        layers=layers,
        rank=rank,
        dim=dim,
        targets=[target],
        calibrate=calibrate,
        allow_untrained=allow_untrained,
    )
    with Bars() as bars:
        found = pipeline.measure_sensitivity(request, progress=bars)
    if as_json:
        print_json(costs.costs_data(found))
    else:
        costs.show_costs(console.make_console(), found)
