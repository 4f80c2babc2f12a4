"""From artifacts and a profile to a request, and to a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlexport.artifact import read_artifact
from mlexport.bench.here import require_device
from mlexport.bench.measuring import measure
from mlexport.bench.request import HERE, BenchRequest, Contestant, check
from mlexport.errors import MeasureError, UsageError
from mlexport.latency import BenchResult
from mlexport.profile import Profile, Runtime
from mlexport.profiles import load_profile
from mlexport.progress import Progress
from mlexport.runtime.providers import provider_name
from mlexport.runtime.settings import Settings

ALL_VARIANTS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What `mlexport bench` is told beside the artifacts; each combination of variant and threads is a contestant.

    Attributes:
        profile: name or path of a device profile, which gives provider, options and threads.
        variants: names of model files; empty takes each artifact's first, "all" every one.
        provider: instead of the profile's.
        options: on top of the profile's.
        threads: one or several to compare; empty takes the profile's, or all usable cores.
        gpu_layers: llama.cpp: layers on the GPU; None is all where the provider is one.
        assume_device: measure under the profile's name although the machine does not look like its device.
        tokens, batches, streams, min_calls, min_seconds, rounds: as of BenchRequest.
    """

    profile: str = "local"
    variants: Sequence[str] = ()
    provider: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    threads: Sequence[int] = ()
    gpu_layers: int | None = None
    assume_device: bool = False
    tokens: Sequence[int] | None = None
    batches: Sequence[int] | None = None
    streams: Sequence[int] = (1,)
    min_calls: int = 50
    min_seconds: float = 2.0
    rounds: int = 7


def run(
    artifacts: Sequence[Path | str], choices: Choices | None = None, *, progress: Progress | None = None
) -> BenchResult:
    """Measure artifacts on this machine.

    Args:
        artifacts: folders; the first one is what the others' ratios are to.

    Raises:
        UsageError: no artifact, no such profile, or a number that makes no sense.
        ArtifactError: not an artifact, a damaged one, or no such variant.
        MissingExtraError: a runtime is not installed.
        MeasureError: this machine is not the profile's device, a provider is missing, or a run failed.
    """
    return measure(plan(artifacts, choices or Choices()), progress=progress)


def plan(artifacts: Sequence[Path | str], choices: Choices, *, where: str = HERE) -> BenchRequest:
    """The request for artifacts of this machine, to be measured here or elsewhere.

    Args:
        where: "here", or the place whose runner will measure; the profile is then not compared with this machine.

    Raises:
        UsageError, ArtifactError, MeasureError: as `run`, as far as it can be known before.
    """
    profile = load_profile(choices.profile)
    if where == HERE and not choices.assume_device:
        require_device(profile)
    contestants = [
        Contestant(artifact=str(folder), variant=variant, settings=settings)
        for folder in artifacts
        for variant in _variants(Path(folder), choices.variants)
        for settings in _settings(Path(folder), profile, choices)
    ]
    request = BenchRequest(
        profile=profile.name if choices.profile.endswith((".yaml", ".yml")) else choices.profile,
        where=where,
        contestants=tuple(contestants),
        tokens=None if choices.tokens is None else tuple(choices.tokens),
        batches=None if choices.batches is None else tuple(choices.batches),
        streams=tuple(choices.streams),
        min_calls=choices.min_calls,
        min_seconds=choices.min_seconds,
        rounds=choices.rounds,
        notes=_notes(profile, choices),
    )
    check(request)
    return request


def _variants(folder: Path, asked: Sequence[str]) -> list[str]:
    """Names of the model files of an artifact that are measured."""
    manifest = read_artifact(folder).manifest
    if list(asked) == [ALL_VARIANTS]:
        return [variant.name for variant in manifest.variants]
    return [manifest.variant(name).name for name in asked or (None,)]


def _settings(folder: Path, profile: Profile, choices: Choices) -> list[Settings]:
    """The settings of an artifact, one for each number of threads."""
    target = read_artifact(folder).manifest.target
    made = _of_profile(profile, target, choices.provider)
    made = replace(made, options={**made.options, **choices.options}, gpu_layers=choices.gpu_layers)
    if choices.gpu_layers is not None and target != "gguf":
        raise UsageError(f"--gpu-layers is for target gguf, and {folder} is {target}: leave it out")
    if not choices.threads:
        return [made]
    return [replace(made, threads=threads) for threads in choices.threads]


def _of_profile(profile: Profile, target: str, provider: str | None) -> Settings:
    """How a profile runs artifacts of a target.

    Raises:
        MeasureError: it has no runtime for it, and no provider was named.
    """
    ways = [way for way in profile.unit.runtimes if target in way.targets]
    threads = profile.unit.threads
    if provider is not None:
        chosen = [way for way in ways if _same(way, provider)]
        return Settings(provider=provider, options=dict(chosen[0].options) if chosen else {}, threads=threads)
    if not ways:
        known = ", ".join(f"{one} in {way.name}" for way in profile.unit.runtimes for one in way.targets) or "none"
        raise MeasureError(
            f"profile {profile.name} runs no {target} artifacts (it runs: {known}): make one of those, choose another "
            "profile, or name a provider with --provider"
        )
    return Settings(provider=ways[0].provider, options=dict(ways[0].options), threads=threads)


def _same(way: Runtime, provider: str) -> bool:
    """Whether a profile's way is the provider that was named; ONNX Runtime's have a short word too."""
    if way.provider is None:
        return False
    if way.name == "onnxruntime":
        return provider_name(way.provider) == provider_name(provider)
    return way.provider.lower() == provider.lower()


def _notes(profile: Profile, choices: Choices) -> tuple[str, ...]:
    if not choices.assume_device:
        return ()
    return (f"--assume-device: whether this machine is {profile.device.device} was not checked.",)
