"""What a platform runs, and with what; one module a platform, found by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import cast

from mlexport.artifact import TEXT, Manifest, Variant
from mlexport.errors import UsageError
from mlexport.pack.manifest import ModelFacts
from mlexport.spec import AUTO, SubModelSpec, Target

PLATFORM_NAMES = ("android", "ios", "node", "python", "web")


def no_notes(facts: ModelFacts, variant: Variant) -> tuple[str, ...]:
    """Nothing to know."""
    return ()


def text_notes(facts: ModelFacts, variant: Variant) -> tuple[str, ...]:
    """What onnxruntime-extensions 0.13.0, the newest for phones that we know of, says to a model that takes text."""
    if facts.takes != TEXT:
        return ()
    return (
        "onnxruntime-extensions 0.13.0 has no HfJsonTokenizer and refuses this model (0.15.2 runs it, in Python): "
        "build the extensions for phones from source, or pack a gguf artifact",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """How a platform runs one kind of model file.

    Attributes:
        target, takes: the kind, as a manifest's variant has it.
        samples: folders under samples/ whose files make up the pack.
        runtime: package -> version that the samples name.
        tokenizer: whether tokenizer.json goes along; otherwise the model has its own.
        stored_output: whether the sample takes stored vectors from the model's own output.
        next: the command to try, in the pack's folder; `next_carried` where the runtime lies in it.
    """

    target: Target
    takes: str
    samples: tuple[str, ...]
    runtime: Mapping[str, str]
    tokenizer: bool
    stored_output: bool
    next: str
    next_carried: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform and its kits, the usual one first.

    Attributes:
        runtime_files: package -> its files that `--runtime` copies; empty where a package manager brings them all.
        largest_model: bytes of a model file that can be loaded at all; None without a limit.
        notes: what to know about a model here.
    """

    name: str
    kits: tuple[Kit, ...]
    runtime_files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    largest_model: int | None = None
    notes: Callable[[ModelFacts, Variant], tuple[str, ...]] = no_notes


def find_platform(name: str) -> Platform:
    """The platform of a name.

    Raises:
        UsageError: no such platform.
    """
    if name not in PLATFORM_NAMES:
        raise UsageError(f"unknown platform '{name}': choose from {', '.join(PLATFORM_NAMES)}")
    return cast(Platform, import_module(f"mlexport.pack.{name}").PLATFORM)


def choose(platform: Platform, manifest: Manifest, name: str | None) -> tuple[Kit, Variant]:
    """The kit and the variant to pack: the one named, else the first that the platform runs.

    Raises:
        ArtifactError: no variant of that name.
        UsageError: the platform runs none of them; the message has a command that makes one it runs.
    """
    variants = manifest.variants if name is None else (manifest.variant(name),)
    for variant in variants:
        for kit in platform.kits:
            if (kit.target, kit.takes) == (manifest.target, variant.takes):
                return kit, variant
    found = f"{manifest.target} {', '.join(variant.name for variant in variants)}"
    wanted = " or ".join(_kind(kit) for kit in platform.kits)
    way_out = remedy(platform.kits, manifest, variants)
    raise UsageError(f"{platform.name} runs {wanted}, the artifact is {found}: {way_out}")


def remedy(kits: Sequence[Kit], manifest: Manifest, variants: Sequence[Variant]) -> str:
    """What to do about an artifact that no kit runs."""
    fitting = [v for v in manifest.variants if any((k.target, k.takes) == (manifest.target, v.takes) for k in kits)]
    if fitting:
        return f"choose --variant {fitting[0].name}, or leave it out"
    kit = next((kit for kit in kits if kit.target == manifest.target), kits[0])
    spec, source = SubModelSpec.parse(manifest.spec), manifest.source
    options = [f"--layers {spec.layers}", *([] if spec.rank is None else [f"--rank {spec.rank}"]), f"--dim {spec.dim}"]
    vocabulary = "" if manifest.vocabulary is None else f" (and --vocab as before: {manifest.vocabulary.asked})"
    options.append(f"--target {kit.target}")
    if kit.target == manifest.target and variants[0].precision != AUTO:
        options.append(f"--precision {variants[0].precision}")
    if kit.takes == TEXT:
        options.append("--text-in")
    return f"make one with `mlexport slice --model {source} {' '.join(options)}`{vocabulary}"


def _kind(kit: Kit) -> str:
    return f"{kit.target} with --text-in" if kit.takes == TEXT else kit.target.value
