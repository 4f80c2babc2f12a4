"""Stored vectors of an artifact that is being made: the int8 range, and whether its graph gives the right codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, cast

from mlexport import export, runtime
from mlexport.errors import VerificationError
from mlexport.evaluate.beir import BUILTIN, read_retrieval_set
from mlexport.evaluate.encode import DOCUMENT, embed_all
from mlexport.evaluate.retention import CALIBRATION_DOCUMENTS
from mlexport.evaluate.stored import calibrate_range, to_binary, to_int8
from mlexport.model import SubModel, TextFacts
from mlexport.probes import PROBES
from mlexport.progress import Progress
from mlexport.results import SlicePlan
from mlexport.retained import StoredVectors
from mlexport.spec import Target, VectorPrecision
from mlexport.tensors import Float32, StoredArray

_GRAPHS = (Target.ONNX, Target.OPENVINO)


class _Graph(Protocol):
    """A runtime of a graph."""

    def both(self, texts: Sequence[str], output: str) -> tuple[Float32, StoredArray]:
        """Vectors, and the output of a name."""


def needs_range(sub: SubModel) -> bool:
    """Whether vectors are stored in a precision that has a range."""
    return sub.stored.precision == VectorPrecision.INT8


def require_equal_codes(
    stored: StoredVectors, target: Target, *, text: TextFacts, dim: int, folder: Path, files: Sequence[str]
) -> None:
    """Compare what graphs give as stored vectors with their own float32 output, on the probe texts: equal to the bit.

    Args:
        files: model files that take ids.

    Raises:
        VerificationError: a number differs.
    """
    if stored.output is None or target not in _GRAPHS:
        return
    for file in files:
        embedder = runtime.load(target, folder, file, text, dim)
        try:
            vectors, codes = cast(_Graph, embedder).both([probe.text for probe in PROBES], stored.output)
        finally:
            embedder.close()
        expected = to_binary(vectors) if stored.range is None else to_int8(vectors, stored.range)
        wrong = int((codes != expected).sum()) if codes.shape == expected.shape else codes.size
        if wrong:
            raise VerificationError(
                f"{file}: output {stored.output} differs from the float32 vectors in {wrong} of {codes.size} numbers"
            )


def with_range(plan: SlicePlan, folder: Path, progress: Progress) -> SlicePlan:
    """The plan with the range of its int8 vectors, which every variant then shares.

    The first variant is written once more for this, into a folder that is removed again: a graph holds the range, and
    nobody but its own runtime knows its vectors.

    Args:
        folder: where the temporary folder may lie.
        progress: told the number of documents done.
    """
    first = plan.variants[0]
    sub = first.sub or plan.sub
    with TemporaryDirectory(dir=folder, prefix="calibrate-") as work:
        file = export.load(plan.target).write(sub, first.rows, Path(work), lambda _: None, precision=first.precision)
        embedder = runtime.load(plan.target, Path(work), file, sub.text, sub.spec.dim)
        try:
            vectors = embed_all(embedder, sub.spec.dim, range_texts(sub), progress.advance)
        finally:
            embedder.close()
    return ranged_by(plan, vectors)


def range_texts(sub: SubModel) -> list[str]:
    """What an int8 range is calibrated on."""
    prompt = sub.text.prompts.get(DOCUMENT, "")
    documents = read_retrieval_set(BUILTIN).documents[:CALIBRATION_DOCUMENTS]
    return [prompt + document.content for document in documents]


def ranged_by(plan: SlicePlan, vectors: Float32) -> SlicePlan:
    """The plan with the range of vectors of `range_texts`, float32 [texts, dim]."""
    text = f"{len(vectors):,} built-in documents, {plan.variants[0].precision}"
    stored = replace(plan.sub.stored, range=calibrate_range(vectors), calibrated=text)
    # Matrices rounded on text are a cut of their own
    variants = tuple(v if v.sub is None else replace(v, sub=replace(v.sub, stored=stored)) for v in plan.variants)
    return replace(plan, sub=replace(plan.sub, stored=stored), variants=variants)
