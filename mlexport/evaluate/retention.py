"""What an artifact keeps of the full model, with intervals: the result of `mlexport eval` as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlexport.evaluate.beir import RetrievalSet
from mlexport.evaluate.bootstrap import SEED, bootstrap_means
from mlexport.evaluate.encode import Encoded
from mlexport.evaluate.neighbours import choose_anchors, neighbour_scores
from mlexport.evaluate.retrieval import Float64, Places, RetrievalScores, retrieval_scores
from mlexport.evaluate.stored import (
    Storage,
    calibrate_range,
    cosine_scorer,
    scorer,
    truncated,
)
from mlexport.retained import UNDEFINED, Estimate, StoredRetention
from mlexport.spec import VectorPrecision
from mlexport.tensors import Float32

# Documents from which the int8 range is calibrated
CALIBRATION_DOCUMENTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRetention:
    """nDCG@10 of one language's queries: the full model's, the artifact's, and its share."""

    language: str
    queries: int
    full: Estimate
    ndcg: Estimate
    retained: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """One artifact against the full model; every number with its 95% interval.

    Attributes:
        full_ndcg, full_recall: the full model's nDCG@10 and recall@10, means over queries.
        ndcg, recall: the artifact's.
        retained_ndcg, retained_recall: its share of the full model's.
        mean_of_languages: the share of nDCG@10 where every language weighs the same; not defined below two languages.
        overlap: share of the full model's ten nearest documents that are among the artifact's ten nearest.
        correlation: Spearman's rho of a document's similarities to all others.
        anchors: documents that overlap and correlation are means over.
        not_finite: vectors with a number that is none; each counts against the artifact.
    """

    full_ndcg: Estimate
    full_recall: Estimate
    ndcg: Estimate
    recall: Estimate
    retained_ndcg: Estimate
    retained_recall: Estimate
    mean_of_languages: Estimate
    overlap: Estimate
    correlation: Estimate
    anchors: int
    languages: tuple[LanguageRetention, ...]
    stored: tuple[StoredRetention, ...]
    not_finite: int


def full_scores(data: RetrievalSet, full: Encoded) -> RetrievalScores:
    """The full model's own scores, computed once for several artifacts."""
    return retrieval_scores(data.judgements, cosine_scorer(full.queries, full.documents), len(data.documents))


def compare(
    data: RetrievalSet,
    full: Encoded,
    base: RetrievalScores,
    cut: Encoded,
    storages: Sequence[Storage] = (),
    *,
    seed: int = SEED,
    brief: bool = False,
) -> Retention:
    """Compare an artifact's vectors with the full model's on one retrieval set.

    Args:
        brief: leave `mean_of_languages` out, which takes as long as half of all the rest.
        base: `full_scores` of the full model.
        storages: ways of storing the artifact's vectors to compare beside its float32 ones.
        seed: of the bootstrap and of the choice of documents.
    """
    count = len(data.documents)
    scores = retrieval_scores(data.judgements, cosine_scorer(cut.queries, cut.documents), count)
    means = bootstrap_means([base.ndcg, base.recall, scores.ndcg, scores.recall], seed=seed)
    anchors = choose_anchors(count, seed)
    near = neighbour_scores(
        anchors, cosine_scorer(full.documents, full.documents), cosine_scorer(cut.documents, cut.documents), count
    )
    known = bootstrap_means([near.overlap, near.correlation], seed=seed) if len(near.overlap) else None
    strata = _strata(data)
    several = len(strata) > 1
    return Retention(
        full_ndcg=means.mean(0),
        full_recall=means.mean(1),
        ndcg=means.mean(2),
        recall=means.mean(3),
        retained_ndcg=means.ratio(2, 0),
        retained_recall=means.ratio(3, 1),
        mean_of_languages=_share(base.ndcg, scores.ndcg, strata, seed) if several and not brief else UNDEFINED,
        overlap=UNDEFINED if known is None else known.mean(0),
        correlation=UNDEFINED if known is None else known.mean(1),
        anchors=len(near.overlap),
        languages=tuple(
            _language(name, base.ndcg[places], scores.ndcg[places], seed)
            for name, places in zip(data.languages, strata, strict=True)
        ),
        stored=_stored(data, base.ndcg, cut, storages, seed),
        not_finite=cut.not_finite,
    )


def _strata(data: RetrievalSet) -> list[Places]:
    """Places of each language's queries, in the order of `data.languages`."""
    named = np.array([query.language or "" for query in data.queries])
    return [np.flatnonzero(named == language) for language in data.languages]


def _share(full: Float64, cut: Float64, strata: Sequence[Places], seed: int) -> Estimate:
    return bootstrap_means([full, cut], strata, seed=seed).ratio(1, 0)


def _language(name: str, full: Float64, cut: Float64, seed: int) -> LanguageRetention:
    means = bootstrap_means([full, cut], seed=seed)
    return LanguageRetention(
        language=name, queries=len(full), full=means.mean(0), ndcg=means.mean(1), retained=means.ratio(1, 0)
    )


def _stored(
    data: RetrievalSet, full: Float64, cut: Encoded, storages: Sequence[Storage], seed: int
) -> tuple[StoredRetention, ...]:
    columns, ends = [full], []
    for storage in storages:
        known = storage.range is not None or storage.precision != VectorPrecision.INT8
        ends.append(storage.range if known else int8_range(cut.documents, storage.dim))
        score = scorer(cut.queries, cut.documents, storage, ends[-1])
        columns.append(retrieval_scores(data.judgements, score, len(data.documents)).ndcg)
    means = bootstrap_means(columns, seed=seed)
    return tuple(
        StoredRetention(
            dim=storage.dim,
            precision=storage.precision.value,
            comparison=storage.comparison.value,
            bytes=storage.bytes,
            range=end,
            ndcg=means.mean(column),
            retained=means.ratio(column, 0),
        )
        for column, (storage, end) in enumerate(zip(storages, ends, strict=True), start=1)
    )


def int8_range(documents: Float32, dim: int) -> float:
    """The range calibrated on the first documents, as somebody who stores them would."""
    return calibrate_range(truncated(documents[:CALIBRATION_DOCUMENTS], dim))
