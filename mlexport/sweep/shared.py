"""What the tasks of one process share: the checkpoint, chosen vocabularies, the retrieval set, references."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlexport.calibrate.texts import CalibrationTexts, read_calibration
from mlexport.checkpoint import open_checkpoint
from mlexport.child import Answers
from mlexport.errors import EvaluationError, VerificationError
from mlexport.evaluate.beir import RetrievalSet, read_retrieval_set
from mlexport.evaluate.bootstrap import SEED
from mlexport.evaluate.encode import Encoded, ReferenceVectors
from mlexport.evaluate.retention import full_scores
from mlexport.evaluate.stored import truncated
from mlexport.evaluation import Reference
from mlexport.model import Checkpoint
from mlexport.pipeline.plan import plan_cut
from mlexport.progress import Steps
from mlexport.request import check
from mlexport.results import SlicePlan
from mlexport.reuse import Reuse
from mlexport.spec import AUTO
from mlexport.sweep.plan import request_for
from mlexport.sweep.store import Store, open_store, own_scratch
from mlexport.sweep.tasks import Cut, Settings, Table
from mlexport.tensors import Float32
from mlexport.verify import Choice, choose_probes
from mlexport.vocabulary import Chosen, choose, parse_vocabulary

# Names in the store; all but artifacts go when a sweep has ended
WORK, ARTIFACTS = "work", "artifacts"
FULL = f"{WORK}/full.npz"


def store_of(settings: Settings) -> Store:
    """The sweep's store."""
    return open_store(settings.store)


def short(*parts: object) -> str:
    """A file's name for what some values name."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


@cache
def checkpoint_of(settings: Settings) -> Checkpoint:
    """The checkpoint, whose tensors' bytes are kept for other cuts, on this machine or for all that share a folder."""
    folder = store_of(settings).folder()
    place = own_scratch() / settings.identity if folder is None else folder / WORK / "tensors"
    return replace(open_checkpoint(settings.request.model), reuse=Reuse(folder=place))


@cache
def chosen_of(settings: Settings, cut: Cut) -> Chosen | None:
    """The tokens that a vocabulary keeps; give it the cut by `only_vocabulary`."""
    request = request_for(settings.request, cut)
    wanted = parse_vocabulary(request.vocab, request.vocab_coverage)
    return None if wanted is None else choose(checkpoint_of(settings), wanted)


def only_vocabulary(cut: Cut) -> Cut:
    """The same for every cut with the same vocabulary."""
    return Cut(layers=1, rank=None, vocab=cut.vocab, dim=1, precision="", target="")


@cache
def texts_of(settings: Settings, name: str) -> CalibrationTexts:
    """Calibration texts, read once."""
    return read_calibration(name)


def plan_of(settings: Settings, cut: Cut, steps: Steps) -> SlicePlan:
    """What `slice` would make of a cut."""
    request = request_for(settings.request, cut)
    calibrate = check(request).calibrate
    checkpoint = checkpoint_of(settings)
    if calibrate is not None or cut.precision == AUTO:
        # Rounded on text, the same tensor is other bytes in each cut
        checkpoint = replace(checkpoint, reuse=None)
    texts = None if calibrate is None else texts_of(settings, calibrate)
    chosen = chosen_of(settings, only_vocabulary(cut))
    [plan] = plan_cut(checkpoint, chosen, request, texts=texts, steps=steps)
    return plan


@cache
def data_of(settings: Settings) -> RetrievalSet:
    """The retrieval set."""
    found = read_retrieval_set(settings.data)
    return found if settings.sample is None else found.sampled(settings.sample, SEED)


@cache
def full_of(settings: Settings) -> Reference:
    """The full model on the retrieval set, as the task of that wrote it.

    Raises:
        EvaluationError: it is not there.
    """
    arrays = store_of(settings).read(FULL)
    if arrays is None:
        raise EvaluationError(
            f"{store_of(settings).where(FULL)} has no vectors of the full model: start the sweep again"
        )
    encoded = Encoded(documents=arrays["documents"], queries=arrays["queries"])
    vectors = ReferenceVectors(encoded=encoded, how=str(arrays["how"]), cache="read")
    data = data_of(settings)
    scores = full_scores(data, encoded)
    return Reference(checkpoint=checkpoint_of(settings), data=data, vectors=vectors, scores=scores, seed=SEED)


def choice_of(settings: Settings, longest: int) -> Choice:
    """The probe texts."""
    return choose_probes(longest, settings.verify)


def reference_name(settings: Settings, table: Table, depths: tuple[int, ...]) -> str:
    """Name in the store of a table's reference."""
    return f"{WORK}/reference/{short(table, depths, settings.verify)}.npz"


@cache
def _reference(settings: Settings, table: Table, depths: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    name = reference_name(settings, table, depths)
    arrays = store_of(settings).read(name)
    if arrays is None:
        raise VerificationError(f"{store_of(settings).where(name)} has no reference: start the sweep again")
    return arrays


def answers_of(settings: Settings, cut: Cut, depths: tuple[int, ...]) -> Answers:
    """transformers' ids and vectors of the probe texts for one cut."""
    arrays = _reference(settings, cut.pair, depths)
    place = depths.index(cut.layers)
    vectors: Float32 = truncated(arrays["pooled"][place], cut.dim)
    before: Float32 = truncated(arrays["before"][place], cut.dim)
    changed = arrays["changed"]
    cosines = (vectors[changed] * before).sum(axis=1)
    return Answers(
        ids=split_rows(arrays["ids"], arrays["lengths"]),
        vectors=vectors,
        source=str(arrays["versions"]),
        largest_residual=float(arrays["largest"][place]),
        changed=dict(zip(changed.tolist(), cosines.tolist(), strict=True)),
    )


def split_rows(ids: NDArray[Any], lengths: NDArray[Any]) -> list[list[int]]:
    """Rows that lie one after the other."""
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]
