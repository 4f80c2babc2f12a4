"""What reads a checkpoint or an artifact back: inspect, verify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlexport import verify as verification
from mlexport.artifact import (
    IDS,
    Artifact,
    VerifyReport,
    is_artifact,
    read_artifact,
    verify_files,
)
from mlexport.checkpoint import open_checkpoint
from mlexport.kept import read_kept
from mlexport.progress import Progress, Steps
from mlexport.quantize.plan import plan_tensors
from mlexport.results import (
    CheckpointFacts,
    CutSize,
    checkpoint_sizes,
    plan_sizes,
)
from mlexport.slicing import cut, shortened
from mlexport.spec import SubModelSpec, Target, parse_target, resolve_precision
from mlexport.vector_range import require_equal_codes


def inspect(model: str) -> CheckpointFacts | Artifact:
    """What a checkpoint offers, or what an artifact is.

    Args:
        model: "demo", a folder, a hub id with an optional "@revision", or the folder of an artifact.

    Raises:
        CheckpointError: not a checkpoint, or a damaged one.
        ArtifactError: a damaged artifact.
    """
    if is_artifact(Path(model)):
        return read_artifact(Path(model))
    checkpoint = open_checkpoint(model)
    precision = resolve_precision(Target.GGUF, None)
    cuts = []
    for layers in checkpoint.trained_layers:
        spec = SubModelSpec(layers=layers, rank=None, dim=checkpoint.config.hidden)
        # A folder that was cut by dim before has its full width no longer among the trained ones
        sub = cut(checkpoint, spec, allow_untrained=True)
        sizes = plan_sizes(sub.spec, plan_tensors(sub, Target.GGUF, precision, None))
        cuts.append(CutSize(spec=sub.spec.name, target=Target.GGUF, precision=precision, sizes=sizes))
    return CheckpointFacts(checkpoint=checkpoint, sizes=checkpoint_sizes(checkpoint), cuts=tuple(cuts))


def verify_artifact(
    folder: Path,
    mode: str = "full",
    *,
    variant: str | None = None,
    model: str | None = None,
    progress: Progress | None = None,
) -> Mapping[str, VerifyReport]:
    """Check an artifact's files against its manifest, and its vectors against the checkpoint it was cut from.

    Args:
        mode: "full", "sample", or "off" for the files alone.
        variant: name of the only one to compare; None compares all.
        model: the checkpoint, where it no longer is where the manifest says.

    Returns:
        Variant name -> the comparison, its status "passed" or "failed"; empty for "off".

    Raises:
        ArtifactError: a file is missing or changed, or there is no such variant.
        CheckpointError: the checkpoint cannot be opened.
    """
    verification.parse_mode(mode)
    steps = Steps(progress)
    artifact = read_artifact(folder)
    manifest = artifact.manifest
    chosen = manifest.variants if variant is None else (manifest.variant(variant),)
    with steps.step("sha256", sum(entry.bytes for entry in manifest.files)):
        verify_files(artifact, steps.progress.advance)
    if mode == "off":
        return {}
    with steps.step("load"):
        checkpoint = open_checkpoint(model or manifest.source)
    with steps.step("cut"):
        # As short as a static artifact's texts are
        checkpoint = shortened(checkpoint, artifact.text.max_length)
        spec, kept = SubModelSpec.parse(manifest.spec), read_kept(folder)
        sub = cut(checkpoint, spec, allow_untrained=True, vocabulary=kept)
    target, files = parse_target(manifest.target), [one.model_file for one in chosen if one.takes == IDS]
    require_equal_codes(manifest.vectors, target, text=artifact.text, dim=sub.spec.dim, folder=folder, files=files)
    with steps.step("verify"), verification.Reference(sub, mode) as reference:
        return {
            one.name: verification.verify(
                reference,
                target,
                takes=one.takes,
                precisions=[one.precision, *filter(None, [one.table_precision])],
                folder=folder,
                model_file=one.model_file,
                bound=None if one.auto is None else one.auto.min_cosine,
            )
            for one in chosen
        }
