"""Finding device profiles: the shipped ones by name, a user's own by path.

A name is DEVICE-UNIT (pixel-8-cpu); a device with one unit answers to its file's name too (h200), and this machine is
called by that alone (local). A path is a file of the same form, with the unit behind a colon where it has several
(mine.yaml:gpu).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlexport.documents import read_document
from mlexport.errors import UsageError
from mlexport.profile import DeviceProfile, Profile
from mlexport.shipped import shipped

_SUFFIXES = (".yaml", ".yml")


def load_profile(name_or_path: str) -> Profile:
    """What `--profile` means.

    Raises:
        UsageError: no such profile (the message names the nearest ones), or a file of several units without one.
        DocumentError: a file that is not a profile.
    """
    path, unit = _as_path(name_or_path)
    if path is not None:
        return _of_file(path, unit, name_or_path)
    files = profile_files()
    if name_or_path in files:
        return _of_file(files[name_or_path], "", name_or_path)
    device, _, unit = name_or_path.rpartition("-")
    if device in files:
        return _of_file(files[device], unit, name_or_path)
    raise UsageError(_unknown(name_or_path, files))


def all_profiles() -> tuple[Profile, ...]:
    """Every shipped profile, by device and then in the order of its file."""
    return tuple(profile for path in profile_files().values() for profile in file_profiles(path))


def profile_files() -> Mapping[str, Path]:
    """Device -> shipped file."""
    return {path.stem: path for path in sorted(shipped("device_profiles").glob("*.yaml"))}


def file_profiles(path: Path) -> tuple[Profile, ...]:
    """The profiles of a file, one a unit."""
    device = read_document(path, DeviceProfile)
    here = device.form == "this machine" and len(device.units) == 1
    return tuple(
        Profile(name=path.stem if here else f"{path.stem}-{kind}", device=device, unit=unit)
        for kind, unit in device.units.items()
    )


def require_estimable(profile: Profile) -> None:
    """Refuse a profile that can be measured on but says nothing to estimate from.

    Raises:
        UsageError: it has no effective throughput.
    """
    if not profile.unit.effective:
        raise UsageError(
            f"profile {profile.name} has no effective throughput, so nothing can be estimated for it: measure with "
            "`mlexport bench`, or add figures under `effective` in a copy (mlexport profiles cp)"
        )


def _as_path(name_or_path: str) -> tuple[Path | None, str]:
    """The file and the unit behind its colon; no file where a shipped profile's name is meant."""
    text, colon, unit = name_or_path.rpartition(":")
    if colon and text.endswith(_SUFFIXES):
        return Path(text), unit
    return (Path(name_or_path), "") if name_or_path.endswith(_SUFFIXES) else (None, "")


def _of_file(path: Path, unit: str, given: str) -> Profile:
    found = {str(profile.unit.kind): profile for profile in file_profiles(path)}
    if unit in found:
        return found[unit]
    names = ", ".join(found)
    if unit:
        raise UsageError(f"profile {given!r}: {path.stem} has no unit {unit!r} (it has: {names})")
    if len(found) > 1:
        joint = ":" if given == str(path) else "-"
        choices = ", ".join(f"{given}{joint}{name}" for name in found)
        raise UsageError(f"profile {given!r} has several units ({names}): choose one of {choices}")
    return next(iter(found.values()))


def _unknown(name: str, files: Mapping[str, Path]) -> str:
    near = difflib.get_close_matches(name, dict.fromkeys(_names(files)), n=3, cutoff=0.5)
    hint = f"the nearest are {', '.join(near)}; " if near else ""
    return f"no profile {name!r}: {hint}`mlexport profiles ls` lists them, and a path must end in .yaml"


def _names(files: Mapping[str, Path]) -> Iterator[str]:
    for device, path in files.items():
        profiles = file_profiles(path)
        yield from (profile.name for profile in profiles)
        if len(profiles) == 1:
            yield device
