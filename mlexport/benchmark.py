"""mteb's tasks on an artifact, through mteb's encoder protocol; and on the full model through sentence-transformers."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mlexport import runtime
from mlexport.artifact import Artifact, Variant, read_artifact
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import EvaluationError, UsageError, missing_extra
from mlexport.evaluate.encode import DOCUMENT, QUERY, embed_all
from mlexport.measured import Benchmark, BenchmarkScore
from mlexport.model import Checkpoint
from mlexport.progress import Progress, Steps
from mlexport.runtime import Embedder
from mlexport.spec import SubModelSpec, parse_target
from mlexport.tensors import Float32


class ArtifactEncoder:
    """An artifact as `mteb.evaluate` takes a model: mteb's EncoderProtocol (2.x) on top of the artifact's runtime.

    A task's queries get the query prompt and its documents the document prompt. Texts of tasks that know neither
    (classification, similarity) get the document prompt, as `mlexport embed` gives it without --query.
    """

    def __init__(self, artifact: Artifact, variant: Variant, embedder: Embedder) -> None:
        from mteb.models import ModelMeta  # noqa: PLC0415

        manifest = artifact.manifest
        self.embedder, self.text = embedder, artifact.text
        self.dim = SubModelSpec.parse(manifest.spec).dim
        name = f"mlexport/{manifest.model.replace('/', '__')}-{manifest.spec}-{manifest.target}-{variant.name}"
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name,
                "revision": manifest.revision or "local",
                "embed_dim": self.dim,
                "max_tokens": float(self.text.max_length),
                "modalities": ["text"],
            }
        )

    def encode(self, inputs: Iterable[Mapping[str, Any]], *, prompt_type: Any = None, **_: Any) -> Float32:
        """Vectors of the batches' texts, float32 [texts, dim].

        Args:
            inputs: batches, each with a list "text" (title and text already joined by mteb).
            prompt_type: mteb's PromptType, or None.
        """
        name = QUERY if prompt_type is not None and prompt_type.value == QUERY else DOCUMENT
        prompt = self.text.prompts.get(name, "")
        texts = [prompt + text for batch in inputs for text in batch["text"]]
        return embed_all(self.embedder, self.dim, texts)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, by mteb's own function."""
        from mteb.similarity_functions import cos_sim  # noqa: PLC0415

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding pairs, by mteb's own function."""
        from mteb.similarity_functions import pairwise_cos_sim  # noqa: PLC0415

        return pairwise_cos_sim(embeddings1, embeddings2)


def run_tasks(
    folders: Sequence[Path | str],
    tasks: Sequence[str],
    *,
    variant: str | None = None,
    against: str | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Run mteb's tasks on artifacts.

    Args:
        folders: artifacts.
        tasks: names that mteb knows, or "module:Class" of a task of your own (the working folder is searched too).
        variant: name of one of an artifact's model files; None takes the first.
        against: a checkpoint to run the same tasks on, with sentence-transformers in float32; None leaves that out.
        progress: told about steps and tasks.

    Raises:
        MissingExtraError: mteb, a runtime, or sentence-transformers is not installed.
        UsageError: no artifact, or an unknown task.
        ArtifactError, CheckpointError: something cannot be opened.
        EvaluationError: a task failed, such as one whose data set cannot be fetched.
    """
    if find_spec("mteb") is None:
        raise missing_extra("mteb", "mteb", "--mteb")
    if not folders:
        raise UsageError("no artifact: give the folder of one or more")
    _silence()
    steps = Steps(progress)
    artifacts = [read_artifact(Path(folder)) for folder in folders]
    with steps.step("tasks"):
        chosen = [_task(name) for name in tasks]
    scores: list[BenchmarkScore] = []
    if against is not None:
        with steps.step("full model", len(chosen)):
            checkpoint = open_checkpoint(against)
            scores += _run(checkpoint.name, _full_model(checkpoint), chosen, steps.progress.advance)
    for artifact in artifacts:
        one = artifact.manifest.variant(variant)
        with steps.step("mteb", len(chosen)), _encoder(artifact, one) as encoder:
            scores += _run(f"{artifact.folder} {one.name}", encoder, chosen, steps.progress.advance)
    return Benchmark(against=against, scores=tuple(scores), steps=tuple(steps.done))


@contextmanager
def _encoder(artifact: Artifact, variant: Variant) -> Iterator[ArtifactEncoder]:
    """An artifact's model file in its runtime."""
    manifest, dim = artifact.manifest, SubModelSpec.parse(artifact.manifest.spec).dim
    target, file = parse_target(manifest.target), variant.model_file
    embedder = runtime.load(target, artifact.folder, file, artifact.text, dim, takes=variant.takes)
    try:
        yield ArtifactEncoder(artifact, variant, embedder)
    finally:
        embedder.close()


def _silence() -> None:
    """Bars and retries that other libraries would write through ours; what fails is said by an error."""
    import datasets  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _task(name: str) -> Any:
    """An instance of a task."""
    import mteb  # noqa: PLC0415

    if ":" not in name:
        try:
            return mteb.get_task(name)
        except KeyError as error:
            # mteb proposes the nearest name
            raise UsageError(f"unknown mteb task: {str(error.args[0]).removeprefix('KeyError: ')}") from None
    module, _, class_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        made = getattr(import_module(module), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--mteb {name}: {error}") from None
    if not (isinstance(made, type) and issubclass(made, mteb.AbsTask)):
        raise UsageError(f"--mteb {name} is not a task of mteb: expected a subclass of mteb.AbsTask")
    return made()


def _full_model(checkpoint: Checkpoint) -> Any:
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    except ImportError:
        raise missing_extra("sentence_transformers", "torch", "--against with --mteb") from None
    prompts = {name: checkpoint.text.prompts.get(name, "") for name in (QUERY, DOCUMENT)}
    return SentenceTransformer(
        str(checkpoint.folder),
        device="cpu",
        local_files_only=True,
        prompts=prompts,
        model_kwargs={"dtype": "float32"},
    )


def _run(label: str, model: Any, tasks: Sequence[Any], advance: Callable[[int], None]) -> list[BenchmarkScore]:
    """Scores of each task; mteb's own result cache is left out, which could not tell two artifacts apart."""
    import mteb  # noqa: PLC0415

    scores = []
    for task in tasks:
        name = task.metadata.name
        try:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):
                found = mteb.evaluate(model, task, cache=None, show_progress_bar=False)
        except Exception as error:  # noqa: BLE001 - data sets from anywhere fail in any way
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise EvaluationError(f"mteb task {name} failed on {label}: {reason}") from None
        [result] = found.task_results
        scores.append(
            BenchmarkScore(
                label=label,
                task=name,
                kind=task.metadata.type,
                measure=task.metadata.main_score,
                score=float(result.get_score()),
                splits={
                    split: float(np.mean([row["main_score"] for row in rows])) for split, rows in result.scores.items()
                },
                mteb_version=result.mteb_version or "",
            )
        )
        advance(1)
    return scores
