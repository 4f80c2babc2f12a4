"""From a request to a result: a process for each contestant in each setting, taking turns."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product

import numpy as np

from mlexport.bench import environment, noise, processor, stats
from mlexport.bench.child import Child
from mlexport.bench.protocol import END_TO_END, MODEL, TOKENISE, Closed, Opened, Task
from mlexport.bench.request import BenchRequest, check
from mlexport.bench.subjects import Entrant, entrants, lengths
from mlexport.errors import MeasureError
from mlexport.latency import FORMAT_VERSION, MEASURED, BenchResult, Ratio, Run
from mlexport.progress import Progress, Steps
from mlexport.runtime.providers import QNN, provider_name

# The kernel counts whole ticks: shares of fewer are guesses
_FEWEST_TICKS = 100
# Calls from text to vector, as a share of those of the model
_END_TO_END_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all contestants run at the same time of the measurement."""

    tokens: int
    batch: int | None
    streams: int

    @property
    def name(self) -> str:
        """For a progress bar."""
        batch = f" × {self.batch}" if self.batch not in (None, 1) else ""
        return f"{self.tokens}{batch}" + (f", {self.streams} streams" if self.streams > 1 else "")


def measure(request: BenchRequest, *, progress: Progress | None = None) -> BenchResult:
    """Measure what the request says, on this machine.

    Raises:
        UsageError: a number that makes no sense.
        ArtifactError: not an artifact, a damaged one, or no such variant.
        MissingExtraError: its runtime is not installed.
        MeasureError: a provider is missing, or a run failed.
    """
    check(request)
    _refuse_simulator(request)
    found = entrants(request)
    batches: Sequence[int | None] = request.batches or (None,)
    settings = [
        Setting(tokens=tokens, batch=batch, streams=streams)
        for streams, batch, tokens in product(request.streams, batches, lengths(request, found))
    ]
    steps, before = Steps(progress), environment.moment()
    runs: list[Run] = []
    compared: list[Ratio] = []
    opened: list[Opened] = []
    for setting in settings:
        with steps.step(setting.name, len(found) * (request.rounds + 1)):
            made, known = _together(request, found, setting, steps.progress)
        runs += made
        opened += known
        compared += ratios(made)
    used = sorted({run.engine.runtime for run in runs})
    return BenchResult(
        kind=MEASURED,
        format_version=FORMAT_VERSION,
        tool=f"mlexport {version('mlexport')}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=request.profile,
        where=request.where,
        environment=environment.facts(used) | {"before": before, "after": environment.moment()},
        method=(*_method(request, opened), *request.notes),
        subjects=tuple(one.subject for one in found),
        runs=tuple(runs),
        ratios=tuple(compared),
        trusted=not any(run.noise for run in runs),
    )


def _refuse_simulator(request: BenchRequest) -> None:
    """Qualcomm's library for x86-64 simulates the chip, and its times say nothing about it.

    Raises:
        MeasureError: a contestant would run on it.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return
    for one in request.contestants:
        if provider_name(one.settings.provider) == QNN:
            raise MeasureError(
                "QNN on x86-64 is Qualcomm's simulator, whose times are not the chip's: measure on the device with "
                "--on, or estimate with `mlexport estimate`"
            )


def _together(
    request: BenchRequest, found: Sequence[Entrant], setting: Setting, progress: Progress
) -> tuple[list[Run], list[Opened]]:
    """All contestants in one setting."""
    with ExitStack() as stack:
        children = []
        for one in found:
            task = Task(contestant=one.contestant, tokens=setting.tokens, batch=setting.batch, streams=setting.streams)
            # One after the other: the next one's loading would be in the way of this one's first call
            children.append(stack.enter_context(Child(task, one.subject.name)))
            progress.advance(1)
        sizes = {child.opened.batch for child in children}
        if len(sizes) > 1:
            raise MeasureError(
                f"static artifacts of {' and '.join(map(str, sorted(sizes)))} texts at a time cannot be compared: "
                "measure them apart"
            )
        _take_turns(request, children, progress)
        runs = [_run(child, child.close(), one, setting) for child, one in zip(children, found, strict=True)]
        return runs, [child.opened for child in children]


def _take_turns(request: BenchRequest, children: Sequence[Child], progress: Progress) -> None:
    """Rounds in which every child has a turn; each round begins with another one."""
    calls, seconds = math.ceil(request.min_calls / request.rounds), request.min_seconds / request.rounds
    for number in range(request.rounds):
        start = number % len(children)
        for child in (*children[start:], *children[:start]):
            time.sleep(request.pause_seconds)
            child.turn(MODEL, calls, seconds)
            child.turn(END_TO_END, math.ceil(calls * _END_TO_END_SHARE), 0)
            if child.opened.tokenises:
                child.turn(TOKENISE, calls, 0)
            progress.advance(1)


def _run(child: Child, closed: Closed, one: Entrant, setting: Setting) -> Run:
    turns, opened = child.turns[MODEL], child.opened
    samples = tuple(sample for turn in turns for sample in turn.samples_ns)
    ends = tuple(int(end) for end in np.cumsum([len(turn.samples_ns) for turn in turns]))
    p50, p90 = np.percentile(samples, [50, 90])
    cores = sum(turn.cores_ns or 0 for turn in turns)
    known = cores >= _FEWEST_TICKS * processor.tick_ns()
    signs = noise.Signs(
        medians_ns=stats.medians(samples, ends),
        p50_ns=float(p50),
        p90_ns=float(p90),
        calls=len(samples),
        steal=sum(turn.steal_ns for turn in turns) / cores if known else None,
        others=sum(turn.others_ns for turn in turns) / cores if known else None,
        mhz=[turn.mhz for turn in turns],
        loop_ns=[turn.loop_ns for turn in turns],
    )
    return Run(
        subject=one.subject.name,
        engine=closed.engine,
        tokens=setting.tokens,
        batch=opened.batch,
        streams=setting.streams,
        load_ns=opened.load_ns,
        first_call_ns=opened.first_call_ns,
        warm_calls=opened.warm_calls + sum(turn.warm_calls for turn in turns),
        samples_ns=samples,
        tokenise_ns=tuple(sample for turn in child.turns[TOKENISE] for sample in turn.samples_ns),
        end_to_end_ns=tuple(sample for turn in child.turns[END_TO_END] for sample in turn.samples_ns),
        wall_ns=sum(turn.wall_ns for turn in turns),
        cpu_ns=sum(turn.cpu_ns for turn in turns),
        resident_bytes=closed.resident_bytes,
        peak_bytes=closed.peak_bytes,
        round_ends=ends,
        noise=noise.sentences(signs),
    )


def ratios(runs: Sequence[Run]) -> list[Ratio]:
    """Each run's times over those of the first one, round by round."""
    base, *others = runs
    first = stats.medians(base.samples_ns, base.round_ends)
    found = []
    for run in others:
        ratio = stats.paired_ratio(stats.medians(run.samples_ns, run.round_ends), first)
        found.append(
            Ratio(
                subject=run.subject,
                base=base.subject,
                tokens=run.tokens,
                batch=run.batch,
                streams=run.streams,
                value=ratio.value,
                low=ratio.low,
                high=ratio.high,
            )
        )
    return found


def _method(request: BenchRequest, opened: Sequence[Opened]) -> tuple[str, ...]:
    several = len(request.contestants) > 1
    turns = (
        f"Contestants take turns in {request.rounds} rounds, each round beginning with another one, "
        f"{request.pause_seconds:g} s apart."
        if several
        else f"Calls are taken in {request.rounds} rounds, {request.pause_seconds:g} s apart."
    )
    sentences = [
        "Every artifact runs in a process of its own for each length, batch and number of streams; the process that "
        "started it sleeps.",
        turns,
        f"At least {request.min_calls} calls and {request.min_seconds:g} s of calls are kept of each; the first call, "
        "and the first of each round, are not among them.",
        "A call is the model on token ids, batches padded, to normalised vectors in the host's memory; tokenising and "
        "the whole way from text are timed apart.",
        "Texts are the package's evaluation queries in 16 languages, cut to exact token counts by the artifact's own "
        "tokenizer, the end token included.",
        "Loading is opening model and tokenizer from files that the system has cached, without importing the runtime.",
    ]
    if several:
        sentences.append(
            "A ratio is the geometric mean over the rounds of medians over the first contestant's; its 95% interval is "
            "Student's, of the rounds' logarithms."
        )
    base = max(one.base_bytes for one in opened) / 1e6
    sentences.append(
        f"Memory is the whole process's; before its runtime was imported, Python with what measures held {base:.0f} MB."
    )
    return (*sentences, *dict.fromkeys(note for one in opened for note in one.notes))
