"""nDCG and recall of a ranking, one number a query; ties count against the ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Places = NDArray[np.int64]

# Scores of some queries (by their places), float64 [queries, documents], higher is nearer
Scorer = Callable[[Places], Float64]

CUTOFF = 10
# Numbers of one block of scores
_BLOCK = 2**23
# Rank of a document that is not there
_NEVER = np.iinfo(np.int64).max
# Scores are sums of float64 products: a difference below this is the order of summation, not the model's
DECIMALS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgements:
    """Which document answers which query, and how well.

    Attributes:
        queries: number of queries, those without a relevant document among them.
        query, document: places, int64 [judgements]; document -1 is one that can never be found.
        grade: int64 [judgements], 0 or above; above 0 is relevant.
    """

    queries: int
    query: Places
    document: Places
    grade: Places

    @property
    def relevant(self) -> Places:
        """Relevant documents of each query, int64 [queries]."""
        return np.bincount(self.query[self.grade > 0], minlength=self.queries).astype(np.int64)

    def only(self, kept: Places) -> Judgements:
        """Those of some queries, whose places are then counted from 0."""
        place = np.full(self.queries, -1)
        place[kept] = np.arange(len(kept))
        mine = place[self.query] >= 0
        return Judgements(
            queries=len(kept),
            query=place[self.query[mine]],
            document=self.document[mine],
            grade=self.grade[mine],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalScores:
    """nDCG and recall within the first `CUTOFF` documents, float64 [queries], 0 to 1."""

    ndcg: Float64
    recall: Float64


def retrieval_scores(judgements: Judgements, score: Scorer, documents: int, cutoff: int = CUTOFF) -> RetrievalScores:
    """Score a ranking as trec_eval does, with the least favourable order wherever scores tie.

    DCG is the sum of grade / log2(1 + rank), ranks from 1, over the first `cutoff` documents; nDCG divides by that of
    the best possible order (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002; linear gain as in trec_eval's ndcg_cut,
    which BEIR reports). Recall is the share of relevant documents among the first `cutoff`. A query without a relevant
    document scores 0.

    Args:
        score: see `Scorer`; a score that is not a number is the worst for a relevant document and the best for others.
        documents: their number.
    """
    relevant = judgements.grade > 0
    query, grade = judgements.query[relevant], judgements.grade[relevant]
    ranks = worst_ranks(query, judgements.document[relevant], grade, score, documents)
    found = ranks <= cutoff
    gains = np.where(found, grade / np.log2(1.0 + ranks), 0.0)
    ideal = _ideal(query, grade, judgements.queries, cutoff)
    counts = judgements.relevant
    return RetrievalScores(
        ndcg=_summed(query, gains, judgements.queries) / np.where(ideal > 0, ideal, 1.0),
        recall=_summed(query, found.astype(np.float64), judgements.queries) / np.maximum(counts, 1),
    )


def worst_ranks(query: Places, document: Places, grade: Places, score: Scorer, documents: int) -> Places:
    """Rank of each relevant document, from 1, int64 [judgements]; among equal scores the lowest grades come first.

    A document of place -1 gets a rank past every cutoff.
    """
    ranks = np.empty(len(query), dtype=np.int64)
    own = np.empty(len(query), dtype=np.float64)
    for part in _blocks(query, documents):
        places, row = np.unique(query[part], return_inverse=True)
        scores = score(places)[row]
        own[part] = np.where(document[part] < 0, np.nan, scores[np.arange(len(part)), document[part]])
        # What is not below it: itself, all that tie, and what is not a number
        ranks[part] = (~(scores < own[part][:, None])).sum(axis=1)
    ranks -= _tied_behind(query, grade, own)
    ranks[document < 0] = _NEVER
    return ranks


def _blocks(query: Places, documents: int) -> Iterator[Places]:
    """Places of judgements, those of one query near each other, in parts of bounded memory."""
    order = np.argsort(query, kind="stable")
    step = max(1, _BLOCK // max(1, documents))
    for start in range(0, len(order), step):
        yield order[start : start + step]


def _tied_behind(query: Places, grade: Places, own: Float64) -> Places:
    """Relevant documents of the same query and score that the worst order puts behind each one."""
    order = np.lexsort((grade, -own, query))
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (np.diff(query[order]) != 0) | (own[order][1:] != own[order][:-1])
    group = np.cumsum(starts) - 1
    last = np.append(np.flatnonzero(starts)[1:], len(order)) - 1
    behind = np.empty(len(order), dtype=np.int64)
    behind[order] = last[group] - np.arange(len(order))
    return behind


def _ideal(query: Places, grade: Places, queries: int, cutoff: int) -> Float64:
    """DCG of the best order, float64 [queries]."""
    order = np.lexsort((-grade, query))
    counts = np.bincount(query, minlength=queries)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    gains = np.where(rank <= cutoff, grade[order] / np.log2(1.0 + rank), 0.0)
    return _summed(query[order], gains, queries)


def _summed(query: Places, values: Float64, queries: int) -> Float64:
    return np.bincount(query, weights=values, minlength=queries).astype(np.float64)
