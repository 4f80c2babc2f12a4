"""Measuring on an Android device: adb pushes a model and the runtime's own benchmark program, and runs it there.

No Python is needed on the device. Everything lies in one folder under /data/local/tmp, which is removed at the end.
"""

from __future__ import annotations

import math
import re
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import numpy as np

from mlexport.artifact import IDS, FileEntry
from mlexport.bench import noise, stats
from mlexport.bench.measure import ratios
from mlexport.bench.request import BenchRequest, check
from mlexport.bench.runners import RESULT_FILE, RUNNERS, Job, Runner, Said, parse_output
from mlexport.bench.subjects import Entrant, entrants, lengths
from mlexport.errors import MeasureError, UsageError
from mlexport.latency import FORMAT_VERSION, MEASURED, BenchResult, Engine, Run
from mlexport.progress import Progress, Silent

_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_PARENT = "/data/local/tmp"
_PROPERTIES = {
    "machine": ("ro.product.manufacturer", "ro.product.model"),
    "processor": ("ro.soc.manufacturer", "ro.soc.model"),
    "architecture": ("ro.product.cpu.abi",),
    "system": ("ro.build.version.release", "ro.build.version.incremental"),
}


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
    with _Device(place) as device:
        device.push_program()
        models = device.push_models(found, told)
        runs: list[Run] = []
        for tokens in sizes:
            told.step(str(tokens), len(found) * request.rounds)
            runs += _together(request, place, device, dict(zip(found, models, strict=True)), tokens, told)
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


def _together(
    request: BenchRequest,
    place: AdbPlace,
    device: _Device,
    models: Mapping[Entrant, str],
    tokens: int,
    told: Progress,
) -> Iterator[Run]:
    """All contestants at a length, in rounds of one start each."""
    device.push_inputs(place.runner.inputs(tokens), models.values())
    # A summary of several starts cannot be put together: one start then has all calls
    rounds, said = request.rounds, {one: list[Said]() for one in models}
    calls = math.ceil(request.min_calls / rounds)
    order = list(models)
    for number in range(rounds):
        start = number % len(order)
        for one in (*order[start:], *order[:start]):
            job = Job(
                program=f"../{place.program.name}",
                model=PurePosixPath(one.variant.model_file).name,
                tokens=tokens,
                calls=calls if place.runner.samples else request.min_calls,
                settings=one.contestant.settings,
            )
            if place.runner.samples or not said[one]:
                said[one].append(device.run(job, models[one]))
            told.advance(1)
    for one in order:
        yield _run(place.runner, one, tokens, said[one])


def _run(runner: Runner, one: Entrant, tokens: int, said: Sequence[Said]) -> Run:
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
            steal=(),
            others=(),
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


class _Device:
    """A folder of ours on a device."""

    def __init__(self, place: AdbPlace) -> None:
        self._place = place
        self._folder = f"{_PARENT}/mlexport-{secrets.token_hex(8)}"

    def __enter__(self) -> _Device:
        state = self._adb(["get-state"])
        if state.strip() != "device":
            raise MeasureError(f"{self._place} is {state.strip() or 'not ready'}: see `adb devices`")
        self._shell(f"mkdir {self._folder}")
        return self

    def __exit__(self, *error: object) -> None:
        command = ["adb", "-s", self._place.serial, "shell", f"rm -rf {self._folder}"]
        subprocess.run(command, capture_output=True, check=False)

    def push_program(self) -> None:
        """The runner, and the libraries beside it."""
        program = self._place.program
        libraries = sorted(path for path in program.parent.iterdir() if ".so" in path.suffixes)
        for path in (program, *libraries):
            self._adb(["push", str(path), f"{self._folder}/{path.name}"])
        self._shell(f"chmod 755 {shlex.quote(f'{self._folder}/{program.name}')}")

    def push_models(self, found: Sequence[Entrant], told: Progress) -> list[str]:
        """Each contestant's model in a folder of its own; the folders."""
        folders = []
        files = [_model_files(one) for one in found]
        told.step("copy", sum(entry.bytes for group in files for entry in group))
        for number, (one, group) in enumerate(zip(found, files, strict=True)):
            folder = f"{self._folder}/{number}"
            self._shell(f"mkdir -p {folder}/test_data_set_0")
            for entry in group:
                self._adb(["push", str(one.artifact.folder / entry.path), f"{folder}/{PurePosixPath(entry.path).name}"])
                told.advance(entry.bytes)
            folders.append(folder)
        return folders

    def push_inputs(self, inputs: Mapping[str, bytes], folders: Iterator[str] | Sequence[str]) -> None:
        """What the runner reads, into each of the folders."""
        with tempfile.TemporaryDirectory() as work:
            for number, (name, content) in enumerate(inputs.items()):
                file = Path(work) / str(number)
                file.write_bytes(content)
                for folder in folders:
                    self._adb(["push", str(file), f"{folder}/{name}"])

    def run(self, job: Job, folder: str) -> Said:
        """Start the program in the model's folder."""
        runner = self._place.runner
        words = " ".join(map(shlex.quote, runner.command(job)))
        libraries = f"LD_LIBRARY_PATH={self._folder}"
        out = self._shell(f"cd {folder} && rm -f {RESULT_FILE} && {libraries} {words} 2>&1")
        file = self._shell(f"cat {folder}/{RESULT_FILE} 2>/dev/null || true")
        return parse_output(runner, out, file)

    def facts(self) -> dict[str, object]:
        """What the device says of itself."""
        facts: dict[str, object] = {
            name: " ".join(self._shell(f"getprop {one}").strip() for one in properties).strip() or None
            for name, properties in _PROPERTIES.items()
        }
        cores = self._shell("nproc || true").strip()
        memory = re.search(r"MemTotal:\s+(\d+) kB", self._shell("cat /proc/meminfo || true"))
        facts["cores"] = int(cores) if cores.isdecimal() else None
        facts["memory_bytes"] = int(memory[1]) * 1024 if memory else None
        return facts

    def _shell(self, command: str) -> str:
        """Run a command line there; what is variable in it is quoted by whoever made it."""
        # An adb of before Android 7 does not pass the exit code on
        out = self._adb(["shell", f"{{ {command}; }}; echo exit=$?"])
        body, _, code = out.rstrip().rpartition("exit=")
        if code.strip() != "0":
            last = next((line for line in reversed(body.splitlines()) if line.strip()), "nothing")
            raise MeasureError(f"{self._place}: `{command[:80]}…` failed there: {last.strip()[:200]}")
        return body

    def _adb(self, arguments: Sequence[str]) -> str:
        command = ["adb", "-s", self._place.serial, *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise MeasureError(f"no adb on this machine ({error.strerror}): install Android's platform tools") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise MeasureError(f"{self._place} cannot be reached: {said[-1] if said else 'adb says nothing'}")
        return done.stdout


def _model_files(one: Entrant) -> list[FileEntry]:
    """The model file and its data: ONNX's and OpenVINO's lie beside it under its name."""
    model = PurePosixPath(one.variant.model_file)
    entries = one.artifact.manifest.shipped(one.variant)
    return [entry for entry in entries if PurePosixPath(entry.path).with_suffix("") == model.with_suffix("")]
