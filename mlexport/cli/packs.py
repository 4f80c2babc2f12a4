"""The command that makes a folder for app developers: pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.cli.use import VariantName
from mlexport.errors import UsageError

if TYPE_CHECKING:
    from mlexport.pack import PackCheck, PackResult


@app.command()
def pack(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="Folder that `mlexport slice` wrote; with --check, a pack.")
    ],
    *,
    platform: Annotated[
        str | None, typer.Option("--for", metavar="PLATFORM", help="web, android, ios, python or node.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the pack; by default ARTIFACT-PLATFORM."),
    ] = None,
    variant: VariantName = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            "--runtime",
            metavar="NODE_MODULES",
            help="For web: copy ONNX Runtime and the tokenizer from this node_modules into the pack.",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare a pack's files with its pack.json.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a pack in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a folder for an app: the model, prompts, licences, and a small sample that runs.

    \b
    mlexport pack out/demo --for web
    mlexport pack out/demo-web --check
    """
    from mlexport import pack as packs  # noqa: PLC0415

    if check:
        if platform is not None or out is not None or variant is not None or runtime is not None or force:
            raise UsageError("--check takes the pack's folder alone: leave the other options out")
        found = packs.check_pack(artifact)
        print_json(_data(found)) if as_json else _show_check(found)
        return
    if platform is None:
        raise UsageError(f"no platform: pass --for {', '.join(packs.PLATFORM_NAMES)}")
    result = packs.write_pack(artifact, platform, out=out, variant=variant, runtime=runtime, force=force)
    print_json(_data(result.check) | {"next": result.next}) if as_json else _show(result)


def _data(check: PackCheck) -> dict[str, object]:
    from dataclasses import asdict  # noqa: PLC0415

    return {"folder": str(check.folder), **asdict(check.manifest), "unlisted": list(check.unlisted)}


def _show(result: PackResult) -> None:
    import shlex  # noqa: PLC0415

    from mlexport.report.console import heading, line, make_console, megabytes  # noqa: PLC0415

    console, manifest, facts = make_console(), result.check.manifest, result.facts
    heading(console, f"{manifest.model} {manifest.cut} → {manifest.platform} · {manifest.target} {manifest.precision}")
    line(console, "model", f"{facts.file}  ({megabytes(facts.bytes)}, vectors of {facts.dim} numbers)")
    versions = ", ".join(f"{name} {version}" for name, version in manifest.runtime.items())
    line(console, "runtime", versions + (", in the folder" if manifest.carried else ", not in the folder"))
    line(console, "licence", f"model {manifest.licence.words}, samples {manifest.sample_licence}")
    for note in manifest.notes:
        line(console, "note", note)
    _show_check(result.check)
    is_command = manifest.platform in ("web", "node", "python")
    folder = shlex.quote(str(result.check.folder))
    line(console, "next", f"cd {folder} && {result.next}" if is_command else result.next)


def _show_check(check: PackCheck) -> None:
    from mlexport.report.console import line, make_console, megabytes  # noqa: PLC0415

    console, manifest = make_console(), check.manifest
    size = megabytes(manifest.bytes)
    line(console, "checked", f"{check.folder}: {len(manifest.files)} files match their sha256  ({size} in all)")
    if check.unlisted:
        shown = ", ".join(check.unlisted[:5]) + (" …" if len(check.unlisted) > 5 else "")
        line(console, "not listed", f"{len(check.unlisted)} files that pack.json does not name: {shown}")
