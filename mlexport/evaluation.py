"""Retention of artifacts, end to end: data and full model once, then each artifact in its own runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from mlexport import runtime
from mlexport.artifact import IDS, Artifact, Variant, read_artifact
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import CheckpointError, UsageError
from mlexport.evaluate.beir import BUILTIN, RetrievalSet, read_retrieval_set
from mlexport.evaluate.bootstrap import SEED
from mlexport.evaluate.cache import cache_folder
from mlexport.evaluate.encode import QUERY, Encoded, ReferenceVectors, artifact_vectors, reference_vectors
from mlexport.evaluate.retention import Retention, compare, full_scores
from mlexport.evaluate.retrieval import RetrievalScores
from mlexport.evaluate.stored import COMPARISONS, Storage
from mlexport.measured import ArtifactRetention, Evaluation, FullModel
from mlexport.model import Checkpoint, TextFacts
from mlexport.progress import Progress, Steps
from mlexport.results import SlicePlan
from mlexport.retained import RetentionReport, StoredVectors
from mlexport.spec import SubModelSpec, Target, VectorPrecision, parse_target, parse_vectors


def evaluate_artifacts(
    folders: Sequence[Path | str],
    *,
    variant: str | None = None,
    against: str | None = None,
    data: str | Path = BUILTIN,
    split: str | None = None,
    sample: int | None = None,
    vectors: Sequence[str] = (),
    seed: int = SEED,
    cache: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure what artifacts keep of the full model on a retrieval set.

    The full model is the uncut checkpoint, run by transformers in a process of its own; queries get the query prompt
    and documents the document prompt, where a checkpoint has them.

    Args:
        folders: artifacts, compared with one reference.
        variant: name of one of an artifact's model files; None takes all that take token ids.
        against: the full model, if it is another checkpoint than the one the artifacts were cut from.
        data: "builtin", or a folder in BEIR's layout, see `mlexport.evaluate.beir.read_retrieval_set`.
        split: name of the qrels file.
        sample: so many queries, drawn with `seed`; None takes all.
        vectors: "f32", "int8", "binary": compare ways to store the vectors too, at every dim nested in the artifact's.
        seed: of the sample and the bootstrap.
        cache: keep the full model's vectors in the user's cache folder, and use those kept there.
        progress: told about steps and texts.

    Raises:
        UsageError: no artifact, artifacts of different checkpoints, malformed data.
        ArtifactError: not an artifact, or a damaged one.
        CheckpointError: the full model cannot be opened.
        EvaluationError: its vectors cannot be computed.
        MissingExtraError: a runtime, or torch and transformers, are not installed.
    """
    steps = Steps(progress)
    artifacts = [read_artifact(Path(folder)) for folder in folders]
    model = _full_model(artifacts, against)
    precisions = [parse_vectors(name) for name in dict.fromkeys(vectors)]
    with steps.step("data"):
        found = read_retrieval_set(data, split)
        found = found if sample is None else found.sampled(sample, seed)
    with steps.step("load"):
        checkpoint = _open(model, asked=against is not None)
    full = _reference(checkpoint, found, seed, steps, cache=cache)
    kept = tuple(
        _evaluate(artifact, one, full, precisions, steps) for artifact in artifacts for one in chosen(artifact, variant)
    )
    return Evaluation(
        data=found.name,
        split=found.split,
        documents=len(found.documents),
        queries=len(found.queries),
        notes=found.notes,
        seed=seed,
        full=FullModel(
            model=checkpoint.name,
            revision=checkpoint.revision,
            dim=checkpoint.config.hidden,
            query_prompt=checkpoint.text.prompts.get(QUERY),
            how=full.vectors.how,
            cache=full.vectors.cache,
        ),
        artifacts=kept,
        steps=tuple(steps.done),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What every artifact of a call is compared with."""

    checkpoint: Checkpoint
    data: RetrievalSet
    vectors: ReferenceVectors
    scores: RetrievalScores
    seed: int

    @property
    def texts(self) -> int:
        """Texts that each model embeds."""
        return len(self.data.documents) + len(self.data.queries)


def _reference(checkpoint: Checkpoint, data: RetrievalSet, seed: int, steps: Steps, *, cache: bool) -> Reference:
    with steps.step("full model", len(data.documents) + len(data.queries)):
        folder = cache_folder() if cache else None
        vectors = reference_vectors(checkpoint, data, cache=folder, advance=steps.progress.advance)
        scores = full_scores(data, vectors.encoded)
    return Reference(checkpoint=checkpoint, data=data, vectors=vectors, scores=scores, seed=seed)


def chosen(artifact: Artifact, variant: str | None) -> Sequence[Variant]:
    """The variant of a name, else all: one that takes text gives the vectors of the one that takes ids."""
    manifest = artifact.manifest
    return [manifest.variant(variant)] if variant is not None else [v for v in manifest.variants if v.takes == IDS]


def _evaluate(
    artifact: Artifact, variant: Variant, full: Reference, precisions: Sequence[VectorPrecision], steps: Steps
) -> ArtifactRetention:
    """One model file's vectors, compared."""
    manifest = artifact.manifest
    dim = SubModelSpec.parse(manifest.spec).dim
    source = _Source(
        target=parse_target(manifest.target),
        folder=artifact.folder,
        file=variant.model_file,
        takes=variant.takes,
        text=artifact.text,
        dim=dim,
    )
    start = perf_counter()
    with steps.step("embed", full.texts):
        cut = _embed(source, full.data, steps.progress)
    seconds = perf_counter() - start
    with steps.step("compare"):
        storages = _storages(full.checkpoint, dim, precisions, manifest.vectors)
        found = compare(full.data, full.vectors.encoded, full.scores, cut, storages, seed=full.seed)
    return ArtifactRetention(
        folder=artifact.folder,
        model=manifest.model,
        spec=manifest.spec,
        target=manifest.target,
        variant=variant.name,
        dim=dim,
        bytes=manifest.shipped_bytes(variant),
        seconds=seconds,
        retention=found,
    )


def open_reference(model: str, data: str, steps: Steps, sample: int | None) -> Reference:
    """The full model on a retrieval set, for `slice --eval` and recipes."""
    found = read_retrieval_set(data)
    found = found if sample is None else found.sampled(sample, SEED)
    return _reference(open_checkpoint(model), found, SEED, steps, cache=True)


def reports(
    full: Reference, plan: SlicePlan, folder: Path, files: Sequence[str], steps: Steps
) -> Mapping[str, RetentionReport]:
    """What the model files of an artifact keep that is being made, by precision.

    Args:
        folder: where it grows.
        files: a model file for each of the plan's variants.
    """
    found: dict[str, RetentionReport] = {}
    sub = plan.sub
    for variant, file in zip(plan.variants, files, strict=True):
        # One that takes text gives the vectors of the one that takes ids
        if variant.takes != IDS:
            continue
        source = _Source(
            target=plan.target,
            folder=folder,
            file=file,
            takes=variant.takes,
            text=sub.text,
            dim=sub.spec.dim,
        )
        with steps.step("eval", full.texts):
            cut = _embed(source, full.data, steps.progress)
            found[variant.precision] = report_of(full, retention_of(full, cut, sub.spec.dim, sub.stored))
    return found


def retention_of(full: Reference, cut: Encoded, dim: int, stored: StoredVectors) -> Retention:
    """What an artifact's vectors of the set keep, as `slice --eval` wants it: the mean of languages is left out.

    Args:
        dim: numbers of its vectors.
        stored: how its vectors are stored, which is compared too.
    """
    storages = _storages(full.checkpoint, dim, (), stored)
    return compare(full.data, full.vectors.encoded, full.scores, cut, storages, seed=full.seed, brief=True)


def report_of(full: Reference, kept: Retention) -> RetentionReport:
    """What a manifest keeps of it."""
    return RetentionReport(
        data=full.data.name,
        documents=len(full.data.documents),
        queries=len(full.data.queries),
        reference=f"{full.checkpoint.name}, {full.vectors.how}",
        full_ndcg=kept.full_ndcg,
        ndcg=kept.ndcg,
        retained_ndcg=kept.retained_ndcg,
        retained_recall=kept.retained_recall,
        overlap=kept.overlap,
        correlation=kept.correlation,
        stored=kept.stored,
        notes=full.data.notes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A model file and how to open it."""

    target: Target
    folder: Path
    file: str
    takes: str
    text: TextFacts
    dim: int


def _embed(source: _Source, data: RetrievalSet, progress: Progress) -> Encoded:
    embedder = runtime.load(source.target, source.folder, source.file, source.text, source.dim, takes=source.takes)
    try:
        return artifact_vectors(embedder, source.dim, data, source.text.prompts, progress.advance)
    finally:
        embedder.close()


def _open(model: str, *, asked: bool) -> Checkpoint:
    try:
        return open_checkpoint(model)
    except CheckpointError as error:
        if asked:
            raise
        raise CheckpointError(f"the full model that the manifest names: {error}. Name it by --against") from None


def _full_model(artifacts: Sequence[Artifact], against: str | None) -> str:
    """What opens the full model."""
    if not artifacts:
        raise UsageError("no artifact: give the folder of one or more")
    sources = sorted({artifact.manifest.source for artifact in artifacts})
    if against is not None:
        return against
    if len(sources) > 1:
        raise UsageError(
            f"these artifacts are cut from different checkpoints ({', '.join(sources)}): name the one to compare "
            "with by --against, or evaluate them one by one"
        )
    return sources[0]


def _storages(
    checkpoint: Checkpoint, dim: int, precisions: Sequence[VectorPrecision], own: StoredVectors
) -> list[Storage]:
    """Every precision at every trained dim up to the artifact's own; at that one also as its manifest says."""
    dims = sorted({trained for trained in checkpoint.trained_dims if trained < dim} | {dim})
    asked = [(short, precision) for short in dims for precision in precisions]
    stored = (dim, VectorPrecision(own.precision))
    if stored[1] != VectorPrecision.F32 and stored not in asked:
        asked.append(stored)
    return [
        Storage(
            dim=short,
            precision=precision,
            comparison=comparison,
            range=own.range if (short, precision) == stored else None,
        )
        for short, precision in asked
        for comparison in COMPARISONS[precision]
    ]
