"""The command that measures latency: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.errors import UsageError

Numbers = list[str] | None


@app.command("bench")
def bench_command(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT...", help="Folders that `mlexport slice` wrote.")
    ],
    *,
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="What `profiles ls` lists, or a .yaml of your own.")
    ] = "local",
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="NAME", help="Several by repeating, or with commas; all: every one."),
    ] = None,
    tokens: Annotated[
        Numbers,
        typer.Option("--tokens", metavar="N", help="Lengths of texts; by default 16, 32, 64, 128, 256, 512."),
    ] = None,
    batch: Annotated[Numbers, typer.Option("--batch", metavar="N", help="Texts in a call; by default 1.")] = None,
    streams: Annotated[
        Numbers, typer.Option("--streams", metavar="N", help="Calls at the same time, a thread each; by default 1.")
    ] = None,
    threads: Annotated[
        Numbers,
        typer.Option("--threads", metavar="N", help="The profile's, or all cores; several are compared."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(
            "--provider",
            metavar="NAME",
            help="Instead of the profile's: cuda, tensorrt, openvino, qnn, coreml, directml, xnnpack (onnx); GPU, NPU, "
            "AUTO (openvino); cuda, vulkan, metal (gguf); cuda, mps (hf).",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Of the provider, as its runtime takes them."),
    ] = None,
    gpu_layers: Annotated[
        int | None, typer.Option("--gpu-layers", metavar="N", min=0, help="Layers on the GPU (gguf); all by default.")
    ] = None,
    min_calls: Annotated[int, typer.Option("--min-calls", metavar="N", help="At least so many calls of each.")] = 50,
    min_seconds: Annotated[
        float, typer.Option("--min-seconds", metavar="S", help="And at least so many seconds.")
    ] = 2.0,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="Turns that each artifact gets.")] = 7,
    assume_device: Annotated[
        bool, typer.Option("--assume-device", help="This machine is the profile's device, though it does not say so.")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="PLACE", help="Measure on a board, ssh://USER@HOST:PORT, or a phone, adb:SERIAL."),
    ] = None,
    ssh_option: Annotated[
        list[str] | None, typer.Option("--ssh-option", metavar="KEY=VALUE", help="As ssh's -o takes it; repeatable.")
    ] = None,
    remote_python: Annotated[
        str | None, typer.Option("--remote-python", metavar="PATH", help="Python there, 3.11 or newer.")
    ] = None,
    remote_folder: Annotated[
        str | None, typer.Option("--remote-folder", metavar="DIR", help="Where its temporary folder is made there.")
    ] = None,
    runner: Annotated[
        str | None,
        typer.Option(
            "--runner",
            metavar="NAME=PATH",
            help="For adb: llama-bench, onnxruntime_perf_test or benchmark_app, built for the phone.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Every sample, as JSON for `mlexport report`.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure latency, throughput and memory of artifacts, several in turn.

    \b
    mlexport bench out/demo
    mlexport bench out/a out/b --tokens 16,128 --out result.json
    mlexport bench out/demo --tokens 128 --batch 1,8,32 --streams 1,2
    mlexport bench out/onnx --provider cuda --tokens 128
    mlexport bench out/demo --on ssh://pi@raspberrypi.local --profile raspberry-pi-5-cpu
    mlexport bench out/gguf --on adb:R3CX --runner llama-bench=android/llama-bench --profile pixel-8-cpu
    """
    from mlexport import bench  # noqa: PLC0415
    from mlexport.bench import remote  # noqa: PLC0415
    from mlexport.latency import check_latency_file, latency_data, write_latency  # noqa: PLC0415
    from mlexport.report import console  # noqa: PLC0415
    from mlexport.report.bench import show_bench  # noqa: PLC0415
    from mlexport.report.progress import Bars  # noqa: PLC0415

    if out is not None:
        check_latency_file(out, force=force)
    place = remote.parse_place(
        on, ssh_options=ssh_option or (), remote_python=remote_python, remote_folder=remote_folder, runner=runner
    )
    choices = bench.Choices(
        profile=profile,
        variants=_listed(variant),
        provider=provider,
        options=_options(option),
        threads=_numbers(threads, "--threads") or (),
        gpu_layers=gpu_layers,
        assume_device=assume_device,
        tokens=_numbers(tokens, "--tokens"),
        batches=_numbers(batch, "--batch"),
        streams=_numbers(streams, "--streams") or (1,),
        min_calls=min_calls,
        min_seconds=min_seconds,
        rounds=rounds,
    )
    with Bars(still=True) as bars:
        if place is None:
            result = bench.run(artifacts, choices, progress=bars)
        else:
            result = remote.run_at(place, artifacts, choices, progress=bars)
    if out is not None:
        write_latency(result, out)
    if as_json:
        print_json(latency_data(result))
        return
    show_bench(console.make_console(), result)
    if out is not None:
        console.line(console.make_console(), "written", f"{out}; next: mlexport report {out} --out report.html")


def _listed(entries: list[str] | None) -> list[str]:
    """Names given by repeating an option, or with commas."""
    return [name.strip() for entry in entries or () for name in entry.split(",") if name.strip()]


def _numbers(entries: list[str] | None, name: str) -> list[int] | None:
    """Whole numbers, given likewise.

    Raises:
        UsageError: something else.
    """
    if entries is None:
        return None
    found = _listed(entries)
    wrong = [one for one in found if not one.isdecimal()]
    if wrong or not found:
        raise UsageError(f"{name} {','.join(entries)}: expected whole numbers, such as {name} 1,8")
    return [int(one) for one in found]


def _options(entries: list[str] | None) -> dict[str, str]:
    """KEY=VALUE, by repeating: a value may have commas.

    Raises:
        UsageError: one without "=".
    """
    found = {}
    for entry in entries or ():
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise UsageError(f"--option {entry}: expected KEY=VALUE")
        found[key] = value
    return found
