"""Where artifacts go, where checkpoints come from, and how much room an artifact takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mlexport.artifact import is_artifact
from mlexport.errors import ExportError
from mlexport.hub import DEMO
from mlexport.model import Checkpoint, SubModel
from mlexport.results import SlicePlan
from mlexport.spec import Target

# Tokenizer and manifest, above the tensors' exact bytes
_TEXT_FILES = ("tokenizer.json", "tokenizer_config.json", "config.json")
_MANIFEST_BYTES = 2**20


def needed_bytes(plan: SlicePlan) -> int:
    """The tensors' exact bytes, what a target copies of the tokenizer, and the manifest."""
    files = (plan.sub.checkpoint.folder / name for name in _TEXT_FILES)
    return plan.bytes + sum(path.stat().st_size for path in files if path.exists()) + _MANIFEST_BYTES


def source_of(checkpoint: Checkpoint, model: str) -> str:
    """What opens the checkpoint again, from any folder."""
    if checkpoint.revision is not None:
        return f"{checkpoint.name}@{checkpoint.revision}"
    return model if model == DEMO else str(checkpoint.folder.resolve())


def folder_of(out: Path | None, sub: SubModel, target: Target, precisions: Sequence[str], *, several: bool) -> Path:
    """Where a target's artifact goes: `out` itself, or one folder a target in it.

    Args:
        precisions: of the model files, and of the table where that was asked for.

    Raises:
        ExportError: `out` is an artifact, where several targets need a folder each.
    """
    if out is None:
        # A hub id is "owner/name", with a revision after "@"
        model = re.sub(r"[^\w.+-]", "-", sub.checkpoint.name.rsplit("/", 1)[-1].split("@", 1)[0])
        shape = [] if sub.shape is None else ["x".join(map(str, sub.shape))]
        parts = [model, sub.spec.name, *shape, *([] if several else [target, *precisions])]
        out = Path("out") / "-".join(parts)
    if not several:
        return out
    if is_artifact(out):
        raise ExportError(f"{out} is an artifact: several targets get a folder each in --out, so choose another")
    return out / target
