"""Latency of a run's model files: measured where a profile is this machine, estimated for the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mlexport import bench
from mlexport.artifact import IDS, MANIFEST, Artifact, sha256
from mlexport.bench.choices import ALL_VARIANTS
from mlexport.estimate.count import countable
from mlexport.latency import BenchResult, EstimateResult, Subject, read_latency, write_latency
from mlexport.percentiles import times
from mlexport.pipeline.estimate import EstimateRequest, estimate_latency
from mlexport.profiles import load_profile
from mlexport.progress import Steps
from mlexport.ran import FileLatency
from mlexport.recipe import Recipe
from mlexport.recipe_checks import DEMAND_TOKENS
from mlexport.recipes import slice_request
from mlexport.run.ledger import Ledger
from mlexport.spec import parse_shape, parse_target

MEASURED_FILE, ESTIMATED_FILE = "measured.json", "estimated.json"
_THIS_MACHINE = "this machine"


def local_profiles(recipe: Recipe) -> list[str]:
    """Those of the recipe's profiles that are the machine that runs it."""
    return [name for name in recipe.profiles if load_profile(name).device.form == _THIS_MACHINE]


def other_profiles(recipe: Recipe) -> list[str]:
    """Those that can only be estimated here."""
    local = local_profiles(recipe)
    return [name for name in recipe.profiles if name not in local]


def measure(
    recipe: Recipe, artifacts: Sequence[Artifact], folder: Path, ledger: Ledger, steps: Steps, *, force: bool
) -> BenchResult | None:
    """Measure every model file that takes ids on this machine; an earlier result of the same files is read.

    Raises:
        MeasureError: a run failed.
        MissingExtraError: a runtime is not installed.
    """
    local = local_profiles(recipe)
    if not local:
        return None
    path, key = folder / MEASURED_FILE, _key(recipe, artifacts, local[0])
    if not force and ledger.has(MEASURED_FILE, key, path):
        found = read_latency(path)
        assert isinstance(found, BenchResult)
        return found
    asked = recipe.measure
    # The first variant of each takes ids
    several = any(sum(v.takes == IDS for v in artifact.manifest.variants) > 1 for artifact in artifacts)
    choices = bench.Choices(
        profile=local[0],
        variants=[ALL_VARIANTS] if several else [],
        tokens=asked.tokens,
        batches=asked.batch,
        min_calls=asked.min_calls,
        min_seconds=asked.min_seconds,
        rounds=asked.rounds,
    )
    ledger.begin(MEASURED_FILE, key, path)
    with steps.step("measure"):
        result = bench.run([artifact.folder for artifact in artifacts], choices, progress=steps.progress)
    write_latency(result, path)
    return result


def estimate(recipe: Recipe, artifacts: Sequence[Artifact], folder: Path, steps: Steps) -> EstimateResult | None:
    """Estimate every model file that takes ids on every profile that is not this machine.

    Raises:
        UsageError: a profile has no throughput to estimate with.
    """
    others = other_profiles(recipe)
    if not others:
        return None
    # What `hf` and a compiled graph do is not in their files, but in the plan of the cut
    counted, planned = list[Artifact](), list[Artifact]()
    for artifact in artifacts:
        (counted if countable(parse_target(artifact.manifest.target)) else planned).append(artifact)
    cut = replace(slice_request(recipe, folder), targets=tuple(artifact.manifest.target for artifact in planned))
    tokens = recipe.measure.tokens if recipe.static is None else (parse_shape(recipe.static)[1],)
    request = EstimateRequest(
        subjects=[*(str(one.folder) for one in counted), *dict.fromkeys(one.manifest.spec for one in planned)],
        profiles=others,
        tokens=tokens,
        batches=recipe.measure.batch if recipe.static is None else (parse_shape(recipe.static)[0],),
        cut=cut,
    )
    with steps.step("estimate"):
        result = estimate_latency(request, progress=steps.progress)
    write_latency(result, folder / ESTIMATED_FILE)
    return result


def _key(recipe: Recipe, artifacts: Sequence[Artifact], profile: str) -> str:
    manifests = [sha256(artifact.folder / MANIFEST) for artifact in artifacts]
    content = [profile, recipe.measure.model_dump(mode="json"), manifests]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_latencies(recipe: Recipe, measured: BenchResult | None, estimated: EstimateResult | None) -> list[FileLatency]:
    """Latency of each model file on each profile, of one text of the length that demands are of."""
    tokens = demand_tokens(recipe)
    return [
        *(() if measured is None else _measured(measured, tokens)),
        *(() if estimated is None else _estimated(estimated, tokens)),
    ]


def demand_tokens(recipe: Recipe) -> int:
    """Tokens of a text that a latency is demanded of: 128, what fixed shapes have, or the nearest that is measured."""
    if recipe.static is not None:
        return parse_shape(recipe.static)[1]
    return min(recipe.measure.tokens, key=lambda tokens: abs(tokens - DEMAND_TOKENS))


def _measured(result: BenchResult, tokens: int) -> Iterator[FileLatency]:
    names = {subject.name: _name(subject) for subject in result.subjects}
    least = min(run.batch for run in result.runs)
    for run in result.runs:
        if (run.tokens, run.batch, run.streams) == (tokens, least, 1):
            yield FileLatency(
                file=names[run.subject],
                profile=result.profile,
                tokens=tokens,
                measured=True,
                ms=times(run.samples_ns).p50_ms,
                low_ms=None,
                high_ms=None,
                refused=None,
            )


def _estimated(result: EstimateResult, tokens: int) -> Iterator[FileLatency]:
    names = {subject.name: _name(subject) for subject in result.subjects}
    least = min((one.batch for one in result.estimates), default=1)
    for one in result.estimates:
        if (one.tokens, one.batch) == (tokens, least):
            yield FileLatency(
                file=names[one.subject],
                profile=one.profile,
                tokens=tokens,
                measured=False,
                ms=one.ms,
                low_ms=one.low_ms,
                high_ms=one.high_ms,
                refused=one.refused,
            )


def _name(subject: Subject) -> str:
    # As mlexport.ran names model files: a result's own names tell folders and settings apart too
    return f"{subject.spec} {subject.target} {subject.variant}"
