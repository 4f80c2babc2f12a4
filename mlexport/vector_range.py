"""The int8 range of an artifact's vectors, from its own runtime on the built-in documents, before it is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mlexport import export, runtime
from mlexport.evaluate.beir import BUILTIN, read_retrieval_set
from mlexport.evaluate.encode import DOCUMENT, embed_all
from mlexport.evaluate.retention import CALIBRATION_DOCUMENTS
from mlexport.evaluate.stored import calibrate_range
from mlexport.model import SubModel
from mlexport.progress import Progress
from mlexport.results import SlicePlan
from mlexport.spec import VectorPrecision


def needs_range(sub: SubModel) -> bool:
    """Whether vectors are stored in a precision that has a range."""
    return sub.stored.precision == VectorPrecision.INT8


def with_range(plan: SlicePlan, folder: Path, progress: Progress) -> SlicePlan:
    """The plan with the range of its int8 vectors, which every variant then shares.

    The first variant is written once more for this, into a folder that is removed again: a graph holds the range, and
    nobody but its own runtime knows its vectors.

    Args:
        folder: where the temporary folder may lie.
        progress: told the number of documents done.
    """
    first, sub = plan.variants[0], plan.sub
    documents = read_retrieval_set(BUILTIN).documents[:CALIBRATION_DOCUMENTS]
    prompt = sub.checkpoint.text.prompts.get(DOCUMENT, "")
    with TemporaryDirectory(dir=folder, prefix="calibrate-") as work:
        file = export.load(plan.target).write(sub, first.rows, Path(work), lambda _: None)
        embedder = runtime.load(plan.target, Path(work), file, sub.checkpoint.text, sub.spec.dim)
        try:
            texts = [prompt + document.content for document in documents]
            vectors = embed_all(embedder, sub.spec.dim, texts, progress.advance)
        finally:
            embedder.close()
    text = f"{len(documents):,} built-in documents, {first.precision}"
    stored = replace(sub.stored, range=calibrate_range(vectors), calibrated=text)
    return replace(plan, sub=replace(sub, stored=stored))
