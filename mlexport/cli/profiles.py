"""Commands about device profiles: ls, show, cp, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json

profiles = typer.Typer(help="List, show and copy device profiles.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(profiles, name="profiles")

ProfileName = Annotated[
    str, typer.Argument(metavar="NAME", help="As `profiles ls` lists them, or PATH.yaml[:unit] of your own.")
]


@profiles.command("ls")
def list_profiles(*, as_json: AsJson = False) -> None:
    """List the profiles: what runs there, and how far to trust their figures.

    \b
    mlexport profiles ls
    """
    from mlexport.profiles import all_profiles  # noqa: PLC0415
    from mlexport.report import console  # noqa: PLC0415
    from mlexport.report import profiles as shown  # noqa: PLC0415

    found = all_profiles()
    if as_json:
        print_json(shown.list_data(found))
    else:
        shown.show_profiles(console.make_console(), found)


@profiles.command("show")
def show(name: ProfileName, *, as_json: AsJson = False) -> None:
    """Print every figure of a profile with its unit, range, grade and source.

    \b
    mlexport profiles show snapdragon-8-elite-npu
    mlexport profiles show mine.yaml:gpu
    """
    from mlexport.profiles import load_profile  # noqa: PLC0415
    from mlexport.report import console  # noqa: PLC0415
    from mlexport.report import profiles as shown  # noqa: PLC0415

    profile = load_profile(name)
    if as_json:
        print_json(shown.profile_data(profile))
    else:
        shown.show_profile(console.make_console(), profile)


@profiles.command("cp")
def copy(
    name: ProfileName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to, ending in .yaml.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a device's file to edit; --profile FILE:UNIT takes it.

    \b
    mlexport profiles cp pixel-8 mine.yaml
    """
    from mlexport.profiles import copy_profile  # noqa: PLC0415
    from mlexport.report import console  # noqa: PLC0415

    copied = copy_profile(name, file, force=force)
    units = [profile.unit.kind for profile in copied]
    if as_json:
        print_json({"written": str(file), "units": units})
        return
    screen = console.make_console()
    console.line(screen, "written", f"{file}  (units: {', '.join(units)})")
    console.line(screen, "next", f"mlexport profiles show {file}:{units[0]}")


@profiles.command("schema")
def schema(*, as_json: AsJson = False) -> None:
    """Print the JSON Schema of a profile file, for editors; it is JSON with and without --json.

    \b
    mlexport profiles schema > profile.schema.json
    """
    from mlexport.profile import DeviceProfile  # noqa: PLC0415

    print_json(DeviceProfile.model_json_schema())
