"""Counting what an artifact's model file does: which reader a target needs."""

from __future__ import annotations

from pathlib import Path

from mlexport.artifact import IDS, Artifact, Variant
from mlexport.errors import ArtifactError
from mlexport.estimate.gguf_file import gguf_work
from mlexport.estimate.onnx_file import onnx_work
from mlexport.estimate.openvino_file import openvino_work
from mlexport.estimate.work import Work
from mlexport.spec import Target, parse_target

_READERS = {Target.ONNX: onnx_work, Target.OPENVINO: openvino_work, Target.GGUF: gguf_work}


def countable(target: Target) -> bool:
    """Whether an artifact's own files say what a call of it does; of the others a plan of the cut does."""
    return target in _READERS


def artifact_work(artifact: Artifact, variant: Variant) -> Work:
    """What one call of a variant's file does.

    Raises:
        ArtifactError: its operations cannot be counted: an `hf` folder, a compiled graph, a tokenizer in the graph, or
            a file of another form.
    """
    target = parse_target(artifact.manifest.target)
    if not countable(target):
        raise ArtifactError(
            f"{artifact.folder} is target {target}: its operations are not in its files. Estimate the cut itself, "
            f"`mlexport estimate {artifact.manifest.spec} --target {target}`"
        )
    if variant.takes != IDS:
        raise ArtifactError(
            f"{artifact.folder}: variant {variant.name} has the tokenizer in the graph, which is not estimated. "
            f"Choose one that takes ids"
        )
    return _READERS[target](Path(artifact.folder) / variant.model_file)
