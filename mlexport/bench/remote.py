"""Measuring elsewhere: a board over ssh, or an Android device over adb."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlexport.bench.adb import AdbPlace, measure_over_adb, parse_adb
from mlexport.bench.choices import Choices, plan
from mlexport.bench.ssh import SshPlace, measure_over_ssh, parse_ssh
from mlexport.errors import UsageError
from mlexport.latency import BenchResult
from mlexport.progress import Progress

Place = SshPlace | AdbPlace
PYTHON = "python3"


def parse_place(
    on: str | None,
    *,
    ssh_options: Sequence[str] = (),
    remote_python: str | None = None,
    remote_folder: str | None = None,
    runner: str | None = None,
) -> Place | None:
    """What --on names, with the options that go with it; None without it.

    Raises:
        UsageError: another form, or an option that goes with another kind of place.
    """
    ssh_only = {"--ssh-option": ssh_options, "--remote-python": remote_python, "--remote-folder": remote_folder}
    given = [name for name, value in ssh_only.items() if value]
    if on is not None and on.startswith("ssh://"):
        if runner is not None:
            raise UsageError("--runner goes with --on adb:SERIAL: over ssh the runner is mlexport's own")
        return parse_ssh(on, options=ssh_options, python=remote_python or PYTHON, folder=remote_folder)
    if given:
        raise UsageError(f"{given[0]} goes with --on ssh://USER@HOST:PORT")
    if on is not None and on.startswith("adb:"):
        return parse_adb(on, runner)
    if on is not None:
        raise UsageError(f"--on {on!r} is neither ssh://USER@HOST:PORT nor adb:SERIAL")
    if runner is not None:
        raise UsageError("--runner goes with --on adb:SERIAL")
    return None


def run_at(
    place: Place, artifacts: Sequence[Path | str], choices: Choices, *, progress: Progress | None = None
) -> BenchResult:
    """Measure artifacts of this machine on another one; see `mlexport.bench.run`.

    Raises:
        UsageError: no artifact, no such profile, a number that makes no sense, or what the place cannot measure.
        ArtifactError: not an artifact, a damaged one, or no such variant.
        MeasureError: the place cannot be reached, lacks something, or the run failed there.
    """
    request = plan(artifacts, choices, where=str(place))
    if isinstance(place, SshPlace):
        return measure_over_ssh(request, place, progress=progress)
    return measure_over_adb(request, place, progress=progress)
