"""A subject on a profile: an estimate with its range, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from mlexport.errors import UsageError
from mlexport.estimate.accuracy import Accuracy
from mlexport.estimate.figures import Figures, figures_for
from mlexport.estimate.limits import Unsupported, refusal, warnings
from mlexport.estimate.memory import resident_bytes
from mlexport.estimate.model import parts, pieces
from mlexport.estimate.work import Work
from mlexport.latency import CALIBRATED, ESTIMATED, FORMAT_VERSION, PUBLISHED, Estimated, EstimateResult, Subject
from mlexport.profile import Grade, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A subject and what a call of it does.

    Attributes:
        file_bytes: of the model file.
    """

    subject: Subject
    work: Work
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked: tokens of a text and texts in a call, in all combinations."""

    tokens: Sequence[int]
    batches: Sequence[int]


def estimate_all(
    counted: Sequence[Counted],
    profiles: Sequence[Profile],
    settings: Settings,
    accuracy: Mapping[str, Accuracy],
    unsupported: Unsupported,
) -> EstimateResult:
    """Every subject on every profile.

    A graph of fixed shape is estimated at that shape: shorter texts are padded to it.
    """
    estimates = [
        estimate(one, profile, tokens=tokens, batch=batch, accuracy=accuracy, unsupported=unsupported)
        for one in counted
        for profile in profiles
        for batch, tokens in _shapes(one.work, settings)
    ]
    return EstimateResult(
        kind=ESTIMATED,
        format_version=FORMAT_VERSION,
        tool=f"mlexport {version('mlexport')}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        method=tuple(method(accuracy)),
        subjects=tuple(one.subject for one in counted),
        estimates=tuple(estimates),
    )


def estimate(
    one: Counted,
    profile: Profile,
    *,
    tokens: int,
    batch: int,
    accuracy: Mapping[str, Accuracy],
    unsupported: Unsupported,
) -> Estimated:
    """One subject at one length and batch."""
    try:
        figures = figures_for(profile, one.work)
    except UsageError as error:
        return _refused(one, profile, "", (tokens, batch), str(error))
    why = refusal(profile, one.work, tokens, batch, unsupported)
    if why is not None:
        return _refused(one, profile, figures.runtime.name, (tokens, batch), why)
    found = list(pieces(one.work, figures, tokens, batch))
    check = accuracy[CALIBRATED if _calibrated(profile, figures) else PUBLISHED]
    times = profile.unit.times.get(figures.runtime.name)
    base = None if times is None or times.resident_mb is None else times.resident_mb.value
    memory = resident_bytes(one.work, tokens, batch, base)
    return Estimated(
        subject=one.subject.name,
        profile=profile.name,
        runtime=figures.runtime.name,
        tokens=tokens,
        batch=batch,
        refused=None,
        ms=sum(piece.ms for piece in found),
        low_ms=sum(piece.low_ms for piece in found) / check.factor,
        high_ms=sum(piece.high_ms for piece in found) * check.factor,
        memory_bytes=memory,
        # Nothing was measured where a figure was assumed
        coverage=None if figures.weakest is Grade.ASSUMED else check.coverage,
        parts=parts(found),
        figures=tuple(rate.used() for rate in figures.all()),
        warnings=(*figures.warnings, *warnings(profile, one.work, one.file_bytes, memory)),
    )


def _calibrated(profile: Profile, figures: Figures) -> bool:
    """Whether every scheme was measured on the unit."""
    times = profile.unit.times.get(figures.runtime.name)
    return times is not None and set(figures.products) <= set(times.schemes)


def _shapes(work: Work, settings: Settings) -> Iterator[tuple[int, int]]:
    if work.shape is not None:
        yield work.shape
        return
    for batch in settings.batches:
        for tokens in settings.tokens:
            yield batch, tokens


def _refused(one: Counted, profile: Profile, runtime: str, asked: tuple[int, int], why: str) -> Estimated:
    return Estimated(
        subject=one.subject.name,
        profile=profile.name,
        runtime=runtime,
        tokens=asked[0],
        batch=asked[1],
        refused=why,
        ms=None,
        low_ms=None,
        high_ms=None,
        memory_bytes=None,
        coverage=None,
        parts=(),
        figures=(),
        warnings=(),
    )


def method(accuracy: Mapping[str, Accuracy]) -> Iterator[str]:
    """How it was estimated, and how far it was off where it was checked."""
    yield (
        "estimated, not measured: operations and bytes counted in the file (or in the plan of a cut); time is "
        "overhead, and for each part the longer of operations over effective throughput and bytes over bandwidth (a "
        "roofline)"
    )
    yield "throughput, bandwidth and overhead are the profile's, each with its grade; marketed peaks are not used"
    yield "the range is from each figure's own range, times the factor that the check needed"
    for name, one in accuracy.items():
        yield (
            f"checked ({name}): {one.what}: median error {one.median_error:.0%}, nine tenths within "
            f"{one.p90_error:.0%}, {one.coverage:.0%} of {one.cases} cases in the range"
        )
