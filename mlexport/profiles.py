"""Finding device profiles: the shipped ones by name, a user's own by path.

A name is DEVICE-UNIT (pixel-8-cpu); a device with one unit answers to its file's name too (h200), and this machine is
called by that alone (local). A path is a file of the same form, with the unit behind a colon where it has several
(mine.yaml:gpu).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlexport.documents import read_document
from mlexport.errors import ExportError, UsageError
from mlexport.profile import DeviceProfile, Figure, Profile
from mlexport.shipped import shipped

_SUFFIXES = (".yaml", ".yml")
_INTEGERS = ("int8", "int4", "w8a16")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFigure:
    """A figure of a profile, what it is of, and its unit."""

    name: str
    unit: str
    figure: Figure


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
    paths = shipped("device_profiles").glob("*.yaml")
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def file_profiles(path: Path) -> tuple[Profile, ...]:
    """The profiles of a file, one a unit."""
    device = read_document(path, DeviceProfile)
    here = device.form == "this machine" and len(device.units) == 1
    return tuple(
        Profile(name=path.stem if here else f"{path.stem}-{kind}", device=device, unit=unit)
        for kind, unit in device.units.items()
    )


def profile_figures(profile: Profile) -> Iterator[NamedFigure]:
    """Every figure that the profile's unit has or shares with its device."""
    unit, memory, limits = profile.unit, profile.device.memory, profile.unit.limits
    for name, figures in (("effective", unit.effective), ("peak", unit.peak)):
        for key, figure in figures.items():
            measure = "TOP/s" if key.rpartition("/")[2] in _INTEGERS else "TFLOP/s"
            yield NamedFigure(name=f"{name} {key}", unit=measure, figure=figure)
    single = (
        ("overhead", "ms", unit.overhead_ms),
        ("bandwidth reached", "GB/s", unit.bandwidth_gb_s),
        ("memory bandwidth", "GB/s", memory.bandwidth_gb_s),
        ("memory", "GB", memory.capacity_gb),
        ("cache", "MB", unit.cache_mb),
        ("largest file", "MB", limits.file_mb),
        ("memory of an app", "MB", limits.memory_mb),
    )
    for name, measure, found in single:
        if found is not None:
            yield NamedFigure(name=name, unit=measure, figure=found)


def copy_profile(name_or_path: str, out: Path, *, force: bool = False) -> tuple[Profile, ...]:
    """Write a device's file, with its comments, to be edited; the profiles of the copy.

    Raises:
        UsageError: no such profile, or a name that `--profile` would not take for a path.
        ExportError: `out` exists and `force` is not given, or cannot be written.
    """
    source = _source(name_or_path)
    if out.suffix not in _SUFFIXES:
        raise UsageError(f"{out} does not end in .yaml: --profile would not take it for a file")
    if out.exists() and not force:
        raise ExportError(f"{out} exists: choose another file, or pass --force to replace it")
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.write_bytes(source.read_bytes())
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ExportError(f"{out} cannot be written: {error.strerror}") from None
    return file_profiles(out)


def require_estimable(profile: Profile) -> None:
    """Refuse a profile that can be measured on but says nothing to estimate from.

    Raises:
        UsageError: it has no effective throughput.
    """
    if not profile.unit.effective:
        here = profile.device.form == "this machine"
        copy = "measure with `mlexport bench`, or add figures under `effective` in a copy (mlexport profiles cp)"
        instead = "`mlexport calibrate-device` writes a profile of this machine that has it" if here else copy
        raise UsageError(
            f"profile {profile.name} has no effective throughput, so nothing can be estimated for it: {instead}"
        )


def _source(name_or_path: str) -> Path:
    """The file of a profile or of a device."""
    path, _ = _as_path(name_or_path)
    if path is not None:
        return path
    files = profile_files()
    if name_or_path in files:
        return files[name_or_path]
    load_profile(name_or_path)
    return files[name_or_path.rpartition("-")[0]]


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
