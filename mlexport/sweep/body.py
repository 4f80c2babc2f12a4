"""Cuts that differ in dim alone, measured as one: one encoding, truncated; one file each, written whole.

A vector of fewer numbers is the beginning of a longer one, normalised again: the dim cut stands behind everything
else in each format. So one model, the widest, runs; bytes are those of each dim's own files, which are written for
that from bytes that are kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlexport import runtime
from mlexport import verify as verification
from mlexport.artifact import FileEntry, VerifyReport, sha256, shipped_files
from mlexport.calibrated import calibrated
from mlexport.child import Answers
from mlexport.evaluate.encode import Encoded, artifact_vectors, embed_all
from mlexport.evaluate.retention import Retention
from mlexport.evaluate.stored import truncated
from mlexport.evaluation import report_of, retention_of
from mlexport.export.huggingface import WEIGHTS
from mlexport.model import FINAL_NORM, SubModel
from mlexport.pipeline.make import write_variants
from mlexport.progress import Progress, Steps
from mlexport.results import SlicePlan, Step, VariantPlan, failure, plan_sizes
from mlexport.sweep.keep import keep_artifact
from mlexport.sweep.shared import (
    WORK,
    answers_of,
    choice_of,
    data_of,
    full_of,
    plan_of,
    short,
    split_rows,
    store_of,
)
from mlexport.sweep.tasks import BodyTask, Cut, Measured, Outcome, Settings
from mlexport.swept import LanguageShare
from mlexport.tensors import Float32
from mlexport.vector_range import needs_range, range_texts, ranged_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What the widest cut gives: ids and vectors of the probe texts, vectors of the set, of the int8 range's texts."""

    ids: Sequence[Sequence[int]]
    probes: Float32
    encoded: Encoded | None
    ranged: Float32 | None


class Known(verification.Reference):
    """A reference whose answers are there."""

    def __init__(self, sub: SubModel, choice: verification.Choice, answers: Answers) -> None:
        super().__init__(sub, choice.mode)
        self.choice, self._answers = choice, answers

    def __enter__(self) -> Known:
        """No child is started."""
        return self


def measure_body(task: BodyTask, progress: Progress | None = None) -> Outcome:
    """Write, verify and evaluate cuts that differ in dim alone.

    Raises:
        MlexportError: the body cannot be made.
    """
    settings, steps = task.settings, Steps(progress)
    with _made(task, steps) as (plan, work):
        vectors = _vectors(task, plan, work, steps)
        found = []
        for cut in task.cuts:
            start = perf_counter()
            own = _at_dim(settings, plan, cut)
            if vectors.ranged is not None:
                own = ranged_by(own, narrowed(vectors.ranged, cut.dim))
            found.append(_measured(_Work(task=task, cut=cut, plan=own, vectors=vectors, folder=work), start))
    steps.done += [Step(name=f"D{one.cut.dim}", seconds=one.seconds) for one in found]
    return Outcome(steps=tuple(steps.done), measured=found)


def narrowed(vectors: Float32, dim: int) -> Float32:
    """Vectors as the cut of a dim gives them, float32 [vectors, dim]; the widest one's are its own to the bit."""
    return vectors if vectors.shape[1] == dim else truncated(vectors, dim)


def vectors_name(task: BodyTask) -> str:
    """Name in the store of what a body's widest cut gives."""
    return f"{WORK}/vectors/{short(task.cuts[0])}.npz"


@contextmanager
def _made(task: BodyTask, steps: Steps) -> Iterator[tuple[SlicePlan, Path]]:
    """The widest cut's plan, its matrices rounded where the recipe wants that, and a folder to write in."""
    widest = task.cuts[0]
    plan = plan_of(task.settings, widest, steps)
    steps.done.clear()
    choice = choice_of(task.settings, plan.sub.checkpoint.text.max_length)
    reference = Known(plan.sub, choice, answers_of(task.settings, widest, task.depths))
    with TemporaryDirectory(prefix="mlexport-sweep-") as work, calibrated(plan, reference, steps) as ready:
        yield ready, Path(work)


def _vectors(task: BodyTask, plan: SlicePlan, work: Path, steps: Steps) -> Vectors:
    """From the store, where a killed run had got so far, or from the widest cut's own runtime."""
    store, name = store_of(task.settings), vectors_name(task)
    arrays = store.read(name)
    if arrays is None:
        folder = work / "widest"
        folder.mkdir()
        with steps.step("write", plan.bytes):
            files = write_variants(plan, folder, steps.progress.advance)
        arrays = _run(task.settings, plan, folder, files[0], steps)
        shutil.rmtree(folder)
        store.write(name, arrays)
    encoded = Encoded(documents=arrays["documents"], queries=arrays["queries"]) if "documents" in arrays else None
    return Vectors(
        ids=split_rows(arrays["ids"], arrays["lengths"]),
        probes=arrays["probes"],
        encoded=encoded,
        ranged=arrays.get("ranged"),
    )


def _run(settings: Settings, plan: SlicePlan, folder: Path, file: str, steps: Steps) -> dict[str, NDArray[Any]]:
    sub = plan.sub
    texts = [probe.text for probe in choice_of(settings, sub.checkpoint.text.max_length).probes]
    data = data_of(settings) if settings.retention else None
    count = 0 if data is None else len(data.documents) + len(data.queries)
    arrays: dict[str, NDArray[Any]] = {}
    with steps.step("encode", count + len(texts)):
        embedder = runtime.load(plan.target, folder, file, sub.text, sub.spec.dim)
        try:
            ids = embedder.token_ids(texts)
            arrays["ids"] = np.concatenate([np.array(row, dtype=np.int64) for row in ids])
            arrays["lengths"] = np.array([len(row) for row in ids], dtype=np.int64)
            arrays["probes"] = embedder.embed(texts)
            if data is not None:
                found = artifact_vectors(embedder, sub.spec.dim, data, sub.text.prompts, steps.progress.advance)
                arrays |= {"documents": found.documents, "queries": found.queries}
            if needs_range(sub):
                arrays["ranged"] = embed_all(embedder, sub.spec.dim, range_texts(sub))
        finally:
            embedder.close()
    return arrays


def _at_dim(settings: Settings, plan: SlicePlan, cut: Cut) -> SlicePlan:
    """The widest cut's plan at another dim: only the final norm is another one."""
    if cut.dim == plan.sub.spec.dim:
        return plan
    own = plan_of(settings, cut, Steps(None))
    variants = tuple(_grafted(own, mine, wide) for mine, wide in zip(own.variants, plan.variants, strict=True))
    return replace(own, variants=variants)


def _grafted(own: SlicePlan, mine: VariantPlan, wide: VariantPlan) -> VariantPlan:
    """A variant with the widest one's rounded matrices, where there are any."""
    if wide.sub is None:
        return mine
    norm = {FINAL_NORM: own.sub.tensors[FINAL_NORM]}
    sub = replace(own.sub, tensors={**wide.sub.tensors, **norm}, factors=wide.sub.factors)
    norms = {row.name: row for row in mine.rows if row.name == FINAL_NORM}
    rows = tuple(norms.get(row.name, row) for row in wide.rows)
    return replace(wide, sub=sub, rows=rows, sizes=plan_sizes(own.sub.spec, rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One cut of a body on its way; `folder` is where it may write."""

    task: BodyTask
    cut: Cut
    plan: SlicePlan
    vectors: Vectors
    folder: Path


def _measured(one: _Work, start: float) -> Measured:
    settings, cut, plan = one.task.settings, one.cut, one.plan
    report = _verified(one)
    kept = None if one.vectors.encoded is None else _retention(settings, cut, plan, one.vectors.encoded)
    retention = None if kept is None else report_of(full_of(settings), kept)
    size, digest = _shipped(plan, one.folder / str(cut.dim))
    passed, artifact = report.status == "passed", None
    if settings.keep and passed:
        choice = choice_of(settings, plan.sub.checkpoint.text.max_length)
        known = Known(plan.sub, choice, answers_of(settings, cut, one.task.depths))
        artifact = keep_artifact(store_of(settings), plan, known, retention, one.folder)
    return Measured(
        cut=cut,
        spec=plan.sub.spec.name,
        vocab_tokens=plan.sub.spec.vocab,
        planned_bytes=plan.variants[0].sizes.bytes,
        bytes=size,
        file_sha256=digest,
        passed=passed,
        reason=None if passed else failure(report),
        mean_cosine=report.mean_cosine or 0.0,
        min_cosine=report.min_cosine or 0.0,
        retention=retention,
        languages=() if kept is None else _languages(kept),
        seconds=perf_counter() - start,
        artifact=artifact,
    )


def _shipped(plan: SlicePlan, folder: Path) -> tuple[int, str]:
    """Write all files as `slice` does: bytes that a user ships, and the SHA-256 of what a runtime opens."""
    folder.mkdir()
    files = write_variants(plan, folder, lambda _: None)
    entries = [
        FileEntry(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256="")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    digest = sha256(folder / (WEIGHTS if files[0] == "." else files[0]))
    shutil.rmtree(folder)
    return sum(entry.bytes for entry in shipped_files(entries, files[0], files)), digest


def _verified(one: _Work) -> VerifyReport:
    plan, settings, variant = one.plan, one.task.settings, one.plan.variants[0]
    answers = Answers(ids=one.vectors.ids, vectors=narrowed(one.vectors.probes, one.cut.dim), source=plan.target)
    bound = None if variant.auto is None else variant.auto.min_cosine
    return verification.compare(
        choice_of(settings, plan.sub.checkpoint.text.max_length),
        answers,
        answers_of(settings, one.cut, one.task.depths),
        verification.threshold_for(variant.precisions, bound),
        sliced=plan.sub.vocabulary is not None,
    )


def _retention(settings: Settings, cut: Cut, plan: SlicePlan, encoded: Encoded) -> Retention:
    own = Encoded(documents=narrowed(encoded.documents, cut.dim), queries=narrowed(encoded.queries, cut.dim))
    return retention_of(full_of(settings), own, cut.dim, plan.sub.stored)


def _languages(kept: Retention) -> tuple[LanguageShare, ...]:
    return tuple(
        LanguageShare(
            cut=0,
            language=one.language,
            queries=one.queries,
            full_ndcg=one.full.value or 0.0,
            ndcg=one.ndcg.value or 0.0,
            retained=one.retained.value,
            retained_low=one.retained.low,
            retained_high=one.retained.high,
        )
        for one in kept.languages
    )
