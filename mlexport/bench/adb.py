"""Measuring on an Android device: adb pushes a model and the runtime's own benchmark program, and runs it there.

No Python is needed on the device. Everything lies in one folder under /data/local/tmp, which is removed at the end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import numpy as np

from mlexport.artifact import IDS
from mlexport.bench import noise, stats
from mlexport.bench.device import Device
from mlexport.bench.measuring import ratios
from mlexport.bench.request import BenchRequest, check
from mlexport.bench.runners import RUNNERS, Job, Runner, Said
from mlexport.bench.subjects import Entrant, entrants, lengths
from mlexport.errors import UsageError
from mlexport.latency import FORMAT_VERSION, MEASURED, BenchResult, Engine, Run
from mlexport.progress import Progress, Silent

_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdbPlace:
    """A device that adb knows, and what is run there.

    Attributes:
        runner: which benchmark program.
        program: the file of it on this machine, built for the device; libraries beside it (.so) go with it.
    """

    serial: str
    runner: Runner
    program: Path

    def __str__(self) -> str:
        return f"adb:{self.serial}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns:
    """A contestant on the device: its folder there, and what was said of each start."""

    entrant: Entrant
    folder: str
    said: list[Said] = field(default_factory=list)


def parse_adb(text: str, runner: str | None) -> AdbPlace:
    """A place from adb:SERIAL and NAME=PATH, or PATH where the file has the runner's name.

    Raises:
        UsageError: another form, no runner, or no such file.
    """
    serial = text.removeprefix("adb:")
    if not _SERIAL.fullmatch(serial):
        raise UsageError(f"--on {text!r} is not of the form adb:SERIAL, as `adb devices` lists it")
    names = ", ".join(RUNNERS)
    if runner is None:
        raise UsageError(f"--on {text} needs --runner NAME=PATH, a program built for Android: {names}")
    name, equals, path = runner.partition("=")
    program = Path(path if equals else runner)
    name = name if equals else program.name
    if name not in RUNNERS:
        raise UsageError(f"--runner {runner!r}: {name!r} is none of {names}. Write NAME=PATH")
    if not program.is_file():
        raise UsageError(f"--runner {runner!r}: there is no file {program}")
    return AdbPlace(serial=serial, runner=RUNNERS[name], program=program)


def measure_over_adb(request: BenchRequest, place: AdbPlace, *, progress: Progress | None = None) -> BenchResult:
    """Push, measure there, remove.

    Raises:
        UsageError: what the runner cannot measure: another target, batches, streams, strings.
        MeasureError: no adb, no device, or the program failed there.
        ArtifactError: not an artifact, a damaged one, or no such variant.
    """
    check(request)
    found, told = entrants(request), progress or Silent()
    sizes = lengths(request, found)
    _require(request, place, found)
    told.step(f"connect to {place.serial}", None)
    runs: list[Run] = []
    with Device(place.serial, place.runner) as device:
        device.push_program(place.program)
        folders = device.push_models(found, told)
        for tokens in sizes:
            device.push_inputs(place.runner.inputs(tokens), folders)
            turns = [_Turns(entrant=one, folder=folder) for one, folder in zip(found, folders, strict=True)]
            starts = request.rounds if place.runner.samples else 1
            told.step(str(tokens), len(turns) * starts)
            for number in range(starts):
                first = number % len(turns)
                for one in (*turns[first:], *turns[:first]):
                    one.said.append(device.run(_job(request, place, one.entrant, tokens, starts), one.folder))
                    told.advance(1)
            runs += [_run(place.runner, one, tokens) for one in turns]
        environment = device.facts() | {"versions": {place.runner.name: runs[0].engine.version}}
    several = [[run for run in runs if run.tokens == tokens and run.samples_ns] for tokens in sizes]
    return BenchResult(
        kind=MEASURED,
        format_version=FORMAT_VERSION,
        tool=f"mlexport {version('mlexport')}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=request.profile,
        where=request.where,
        environment=environment,
        method=(*place.runner.method, *_method(request, place), *request.notes),
        subjects=tuple(one.subject for one in found),
        runs=tuple(runs),
        ratios=tuple(ratio for group in several if len(group) > 1 for ratio in ratios(group)),
        trusted=not any(run.noise for run in runs),
    )


def _require(request: BenchRequest, place: AdbPlace, found: Sequence[Entrant]) -> None:
    runner = place.runner
    for one in found:
        if one.subject.target != runner.target or one.variant.takes != IDS:
            kind = one.subject.target if one.variant.takes == IDS else f"{one.subject.target} that takes text"
            raise UsageError(f"{runner.name} runs {runner.target}, and {one.subject.name} is {kind}")
    if set(request.batches or (1,)) != {1} or set(request.streams) != {1}:
        raise UsageError(f"{runner.name} measures one text at a time here: leave out --batch and --streams")


def _job(request: BenchRequest, place: AdbPlace, one: Entrant, tokens: int, starts: int) -> Job:
    return Job(
        program=f"../{place.program.name}",
        model=PurePosixPath(one.variant.model_file).name,
        tokens=tokens,
        calls=math.ceil(request.min_calls / starts),
        settings=one.contestant.settings,
    )


def _run(runner: Runner, turns: _Turns, tokens: int) -> Run:
    one, said = turns.entrant, turns.said
    samples = tuple(sample for each in said for sample in each.samples_ns)
    ends = tuple(int(end) for end in np.cumsum([len(each.samples_ns) for each in said])) if samples else ()
    settings, first = one.contestant.settings, said[0]
    peaks = [each.peak_bytes for each in said if each.peak_bytes is not None]
    return Run(
        subject=one.subject.name,
        engine=Engine(
            runtime=runner.runtime,
            version=first.version,
            provider=settings.provider or runner.cpu,
            options=settings.options,
            threads=first.threads or settings.threads or 0,
            nodes={},
        ),
        tokens=tokens,
        batch=1,
        streams=1,
        load_ns=first.load_ns,
        first_call_ns=first.first_call_ns,
        warm_calls=len(said),
        samples_ns=samples,
        tokenise_ns=(),
        end_to_end_ns=(),
        wall_ns=None,
        cpu_ns=None,
        resident_bytes=None,
        peak_bytes=max(peaks, default=None),
        round_ends=ends,
        noise=_noise(samples, ends),
        summary_ns={} if samples else first.summary_ns,
    )


def _noise(samples: Sequence[int], ends: Sequence[int]) -> tuple[str, ...]:
    """What the samples alone show; a phone does not tell an app of its other processes."""
    if not samples:
        return ()
    p50, p90 = np.percentile(samples, [50, 90])
    medians = stats.medians(samples, ends)
    return noise.sentences(
        noise.Signs(
            medians_ns=medians,
            p50_ns=float(p50),
            p90_ns=float(p90),
            calls=len(samples),
            steal=None,
            others=None,
            mhz=(),
            loop_ns=(),
        )
    )


def _method(request: BenchRequest, place: AdbPlace) -> tuple[str, ...]:
    if not place.runner.samples:
        return (f"Each artifact was started once a length on {place}, for {request.min_calls} calls.",)
    return (
        f"Each artifact was started {request.rounds} times a length on {place}, in turn with the others, for at least "
        f"{request.min_calls} calls in all; load time and first call are those of the first start.",
    )
