"""Whether documents keep their neighbours and the order of their similarities: measures that need no judgement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlexport.evaluate.retrieval import CUTOFF, Float64, Judgements, Places, Scorer, retrieval_scores

# Documents whose neighbours are compared; more would change the numbers less than their intervals. In a large corpus
# fewer: each one's similarities to all others are ranked
ANCHORS, FEWEST_ANCHORS = 2000, 200
_SIMILARITIES = 2 * 10**7
# Numbers of one block of scores
_BLOCK = 2**23


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourScores:
    """One number a document, float64 [anchors]: shared neighbours (0 to 1), Spearman's rho (-1 to 1)."""

    overlap: Float64
    correlation: Float64


def choose_anchors(documents: int, seed: int, limit: int | None = None) -> Places:
    """Documents to look from: all, or `limit` of them, drawn with a seed; places, ascending.

    Args:
        limit: None leaves it to the size of the corpus.
    """
    if limit is None:
        limit = min(ANCHORS, max(FEWEST_ANCHORS, _SIMILARITIES // documents))
    if documents <= limit:
        return np.arange(documents)
    return np.sort(np.random.default_rng(seed).choice(documents, size=limit, replace=False))


def neighbour_scores(anchors: Places, full: Scorer, cut: Scorer, documents: int) -> NeighbourScores:
    """Compare each anchor's similarities to all other documents between two models.

    Overlap is the share of the full model's ten nearest documents (ties there in the corpus's order) among the other
    model's ten nearest, where ties count against it. Correlation is Spearman's rho over all other documents.

    Args:
        full, cut: similarities of documents (by their places) to all documents.
        documents: their number; with fewer than three nothing can be compared, and the arrays are empty.
    """
    if documents < 3:
        return NeighbourScores(overlap=np.zeros(0), correlation=np.zeros(0))
    nearest = min(CUTOFF, documents - 1)
    overlap, correlation = np.empty(len(anchors)), np.empty(len(anchors))
    step = max(1, _BLOCK // documents)
    for start in range(0, len(anchors), step):
        part = anchors[start : start + step]
        before, after = full(part), cut(part)
        for scores in (before, after):
            scores[np.arange(len(part)), part] = -np.inf
        overlap[start : start + step] = _overlap(before, after, nearest)
        for row, anchor in enumerate(part.tolist()):
            others = np.arange(documents) != anchor
            correlation[start + row] = spearman(before[row, others], after[row, others])
    return NeighbourScores(overlap=overlap, correlation=correlation)


def _overlap(before: Float64, after: Float64, nearest: int) -> Float64:
    """Shared neighbours: recall of the one model's nearest in the other's ranking."""
    found: NDArray[np.int64] = np.argsort(-before, axis=1, kind="stable")[:, :nearest]
    wanted = Judgements(
        queries=len(found),
        query=np.repeat(np.arange(len(found)), nearest),
        document=found.reshape(-1),
        grade=np.ones(found.size, dtype=np.int64),
    )
    return retrieval_scores(wanted, lambda places: after[places], after.shape[1], cutoff=nearest).recall


def spearman(x: Float64, y: Float64) -> float:
    """Spearman's rank correlation, ties at their average rank; 0 where one side is constant or not a number.

    Equal similarities everywhere, or none at all, have kept nothing of an order.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 0.0
    a, b = average_ranks(x), average_ranks(y)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def average_ranks(values: Float64) -> Float64:
    """Ranks from 1, equal values at their average."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    average: Float64 = (last - (counts - 1) / 2)[group]
    return average
