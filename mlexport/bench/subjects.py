"""Contestants as subjects of a result: read, checked, named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlexport.artifact import Artifact, Variant, read_artifact
from mlexport.bench.request import DEFAULT_TOKENS, BenchRequest, Contestant
from mlexport.errors import UsageError
from mlexport.latency import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contestant that exists: what runs and what the result calls it."""

    contestant: Contestant
    artifact: Artifact
    variant: Variant
    subject: Subject


def entrants(request: BenchRequest) -> tuple[Entrant, ...]:
    """The request's contestants, each with a name of its own.

    Raises:
        ArtifactError: not an artifact, a damaged one, or no such variant.
        UsageError: the same contestant twice.
    """
    opened = [(one, read_artifact(Path(one.artifact))) for one in request.contestants]
    names = _names([(one, artifact, artifact.manifest.variant(one.variant)) for one, artifact in opened])
    found = []
    for (one, artifact), name in zip(opened, names, strict=True):
        variant = artifact.manifest.variant(one.variant)
        subject = _subject(name, one, artifact, variant)
        found.append(Entrant(contestant=one, artifact=artifact, variant=variant, subject=subject))
    return tuple(found)


def lengths(request: BenchRequest, found: Sequence[Entrant]) -> tuple[int, ...]:
    """Token counts that are measured.

    Raises:
        UsageError: one that was asked for is longer than an artifact takes.
    """
    shortest = min(found, key=lambda one: one.artifact.text.max_length)
    limit = shortest.artifact.text.max_length
    if request.tokens is None:
        return tuple(size for size in DEFAULT_TOKENS if size <= limit) or (limit,)
    if max(request.tokens) > limit:
        raise UsageError(
            f"--tokens {max(request.tokens)} is more than {_folder(shortest.contestant)} takes: its limit is {limit}"
        )
    return tuple(dict.fromkeys(request.tokens))


def _names(found: Sequence[tuple[Contestant, Artifact, Variant]]) -> list[str]:
    """Cut, target and variant; then what tells those apart that share them: the folder, the settings.

    Raises:
        UsageError: the same contestant twice.
    """
    contestants = [one for one, _, _ in found]
    names = [f"{artifact.manifest.spec} {artifact.manifest.target} {variant.name}" for _, artifact, variant in found]
    differences = [[Path(_folder(one)).name for one in contestants], [_folder(one) for one in contestants]]
    differences += map(list, zip(*map(_settings, contestants), strict=True))
    for extra in differences:
        # What those of the same name are told apart by is put behind it, for all of them
        told = [{more for name, more in zip(names, extra, strict=True) if name == mine} for mine in names]
        names = [
            f"{name} {more}".strip() if len(several) > 1 else name
            for name, more, several in zip(names, extra, told, strict=True)
        ]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(f"{name} is given twice: name each artifact once, or measure it with other settings")
    return names


def _folder(one: Contestant) -> str:
    return one.shown or one.artifact


def _settings(one: Contestant) -> tuple[str, ...]:
    """Provider, options, threads, layers in words; empty where nothing is said."""
    made = one.settings
    options = ", ".join(f"{key}={value}" for key, value in made.options.items())
    threads = "" if made.threads is None else f"{made.threads} thread{'s' if made.threads > 1 else ''}"
    layers = "" if made.gpu_layers is None else f"{made.gpu_layers} layers on the GPU"
    return made.provider or "", options, threads, layers


def _subject(name: str, one: Contestant, artifact: Artifact, variant: Variant) -> Subject:
    manifest = artifact.manifest
    # An hf artifact is a folder; its weights stand for it
    entries = [e for e in manifest.files if e.path == variant.model_file] or [
        e for e in manifest.files if e.path.endswith(".safetensors")
    ]
    return Subject(
        name=name,
        artifact=_folder(one),
        model=manifest.model,
        spec=manifest.spec,
        target=manifest.target,
        variant=variant.name,
        precision=variant.precision,
        sha256=entries[0].sha256 if entries else None,
        bytes=manifest.shipped_bytes(variant),
        cosine=variant.verification.mean_cosine,
        retained=None if variant.retention is None else variant.retention.retained_ndcg.value,
    )
