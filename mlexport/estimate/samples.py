"""Times of several artifacts in turn, for calibration and for its check: rounds, resumable, least disturbed kept."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mlexport.artifact import read_artifact
from mlexport.decode import decode
from mlexport.estimate.count import artifact_work
from mlexport.estimate.fit import Measured
from mlexport.estimate.timing import Timed

TOKENS = (16, 64, 128, 256, 512)
# Of one artifact's calls at one length, in a round
SECONDS = 0.08
# Of the processor, by others: a round so disturbed counts only where there is no better one
_DISTURBED = 0.06
_COPY_BYTES, _COPIES = 2**28, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Calls of one artifact's variant at one length, in one round.

    Attributes:
        name: of the artifact, as the caller knows it.
        others: what other processes took of the processor meanwhile.
        peak_bytes: of the process until then.
    """

    name: str
    variant: str
    tokens: int
    round: int
    samples_ns: tuple[int, ...]
    others: float
    peak_bytes: int


def take(
    artifacts: Mapping[str, Path],
    variants: Callable[[str, str], bool],
    rounds: int,
    done: Sequence[Sample] = (),
    *,
    limit_seconds: float = 1e9,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[list[Sample], bool]:
    """Time what is not done yet; every artifact once in each round, in a process of its own.

    Args:
        artifacts: name -> folder.
        variants: (name, variant) -> whether it is wanted.
        limit_seconds: nothing new is begun after that.
        advance: told of each variant that is done.

    Returns:
        All samples, and whether none is missing.
    """
    found, start = list(done), time.monotonic()
    known = {(one.name, one.variant, one.round) for one in done}
    for number in range(rounds):
        for name, folder in artifacts.items():
            for variant in read_artifact(folder).manifest.variants:
                if (name, variant.name, number) in known or not variants(name, variant.name):
                    continue
                if time.monotonic() - start > limit_seconds:
                    return found, False
                found += _one(name, folder, variant.name, number)
                advance(1)
    return found, True


def _one(name: str, folder: Path, variant: str, number: int) -> list[Sample]:
    found = []
    with Timed(folder, variant) as timed:
        for tokens in TOKENS:
            samples, others = timed.undisturbed(tokens, SECONDS, 2)
            found.append(
                Sample(
                    name=name,
                    variant=variant,
                    tokens=tokens,
                    round=number,
                    samples_ns=samples,
                    others=others,
                    peak_bytes=timed.peak_bytes(),
                )
            )
    return found


def seconds(samples: Sequence[Sample]) -> dict[tuple[str, str, int], float]:
    """(name, variant, tokens) -> the median of its fastest round, of those that others left alone where there are any.

    Others, and what a hypervisor's other guests do to a shared cache, only ever make a call slower.
    """
    groups: dict[tuple[str, str, int], list[Sample]] = {}
    for one in samples:
        groups.setdefault((one.name, one.variant, one.tokens), []).append(one)
    found = {}
    for key, group in groups.items():
        calm = [one for one in group if one.others <= _DISTURBED] or [min(group, key=lambda one: one.others)]
        found[key] = min(statistics.median(one.samples_ns) for one in calm) / 1e9
    return found


def measured(artifacts: Mapping[str, Path], samples: Sequence[Sample]) -> dict[tuple[str, str, int], Measured]:
    """The same times, each with what was run."""
    works = {}
    for name, folder in artifacts.items():
        artifact = read_artifact(folder)
        for variant in artifact.manifest.variants:
            works[name, variant.name] = artifact_work(artifact, variant)
    return {key: Measured(work=works[key[:2]], tokens=key[2], seconds=found) for key, found in seconds(samples).items()}


def samples_json(samples: Sequence[Sample]) -> str:
    """A line each."""
    return "[\n" + ",\n".join(json.dumps(asdict(one)) for one in samples) + "\n]\n"


def read_samples(path: Path) -> list[Sample]:
    """What `samples_json` wrote; none where there is no file."""
    if not path.exists():
        return []
    found = [decode(Sample, one, "") for one in json.loads(path.read_text(encoding="utf-8"))]
    return [one for one in found if isinstance(one, Sample)]


def copy_bandwidth() -> float:
    """GB/s of a copy far larger than a cache, bytes read and written, on one thread: the best of some."""
    source = np.zeros(_COPY_BYTES, dtype=np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(_COPIES):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * _COPY_BYTES / min(times) / 1e9
