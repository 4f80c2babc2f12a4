"""Retrieval, neighbours and intervals against pytrec_eval, scikit-learn and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import pytrec_eval
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from sklearn.neighbors import NearestNeighbors

from mlexport.evaluate.bootstrap import bootstrap_means
from mlexport.evaluate.neighbours import choose_anchors, neighbour_scores, spearman
from mlexport.evaluate.retrieval import Float64, Judgements, Places, RetrievalScores, retrieval_scores
from mlexport.evaluate.stored import cosine_scorer

MEASURES = {"ndcg_cut_10", "recall_10"}


def scored(grades: Places, scores: Float64) -> RetrievalScores:
    """Our scores; `grades` int64 [queries, documents], -1 where nothing was judged."""
    query, document = np.nonzero(grades >= 0)
    judgements = Judgements(queries=len(grades), query=query, document=document, grade=grades[query, document])
    return retrieval_scores(judgements, lambda places: scores[places], grades.shape[1])


def trec(grades: Places, scores: Float64) -> dict[str, Float64]:
    """trec_eval's own numbers, each float64 [queries]."""
    judged = {str(q): {str(d): int(g) for d, g in enumerate(row) if g >= 0} for q, row in enumerate(grades.tolist())}
    run = {str(q): {str(d): s for d, s in enumerate(row)} for q, row in enumerate(scores.tolist())}
    found = pytrec_eval.RelevanceEvaluator(judged, MEASURES).evaluate(run)
    return {name: np.array([found[str(q)][name] for q in range(len(grades))]) for name in MEASURES}


def test_graded_relevance_is_what_trec_eval_says() -> None:
    generator = np.random.default_rng(1)
    grades = generator.choice([-1, 0, 1, 2, 3], p=[0.6, 0.1, 0.1, 0.1, 0.1], size=(40, 60))
    grades[3] = np.where(grades[3] > 0, 0, 0)
    scores = generator.permuted(np.tile(np.linspace(-1, 1, 60), (40, 1)), axis=1)
    ours, theirs = scored(grades, scores), trec(grades, scores)
    assert ours.ndcg == pytest.approx(theirs["ndcg_cut_10"], abs=1e-9)
    assert ours.recall == pytest.approx(theirs["recall_10"], abs=1e-9)
    assert ours.ndcg[3] == ours.recall[3] == 0
    assert 0.05 < ours.ndcg.mean() < 0.95


def test_a_relevant_document_outside_the_corpus_is_never_found() -> None:
    judgements = Judgements(queries=1, query=np.array([0, 0]), document=np.array([2, -1]), grade=np.array([1, 1]))
    ours = retrieval_scores(judgements, lambda _: np.array([[0.1, 0.2, 0.9]]), 3)
    found = pytrec_eval.RelevanceEvaluator({"q": {"2": 1, "gone": 1}}, MEASURES).evaluate(
        {"q": {"0": 0.1, "1": 0.2, "2": 0.9}}
    )
    assert ours.ndcg[0] == pytest.approx(found["q"]["ndcg_cut_10"])
    assert ours.recall[0] == pytest.approx(found["q"]["recall_10"]) == 0.5


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_tie_is_the_worst_of_all_its_orders(data: st.DataObject) -> None:
    """Every order of the tied documents, scored by trec_eval: ours is the least of them."""
    count = 5
    grades = np.array([data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))])
    levels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), dtype=float)
    # Documents in front that nobody asked for, so that the tie falls on both sides of the cutoff
    front = 7
    grades = np.concatenate([np.zeros((1, front), dtype=np.int64), grades], axis=1)
    levels = np.concatenate([np.full(front, 9.0), levels])
    ahead = np.linspace(9, 10, front)
    orders = [
        trec(grades, np.concatenate([ahead, levels[front:] + 0.1 * np.array(order)])[None])
        for order in itertools.permutations(range(count))
    ]
    ours = scored(grades, levels[None])
    assert ours.ndcg[0] == pytest.approx(min(o["ndcg_cut_10"][0] for o in orders), abs=1e-9)
    assert ours.recall[0] == pytest.approx(min(o["recall_10"][0] for o in orders), abs=1e-9)


def test_equal_vectors_tie_wherever_they_stand() -> None:
    """A document found once in a corpus of copies: the last of them, for us; scikit-learn takes the mean of orders."""
    generator = np.random.default_rng(2)
    one = generator.normal(size=(1, 37)).astype(np.float32)
    documents = np.repeat(one, 6, axis=0)
    score = cosine_scorer(one, documents)
    judgements = Judgements(queries=1, query=np.array([0]), document=np.array([2]), grade=np.array([1]))
    ours = retrieval_scores(judgements, score, 6)
    assert ours.ndcg[0] == pytest.approx(1 / np.log2(7))
    assert ours.ndcg[0] < ndcg_score([[0, 0, 1, 0, 0, 0]], score(np.array([0])))


def test_what_is_not_a_number_counts_against_the_ranking() -> None:
    judgements = Judgements(queries=1, query=np.array([0]), document=np.array([0]), grade=np.array([1]))
    broken_answer = retrieval_scores(judgements, lambda _: np.array([[np.nan, *[0.1] * 10]]), 11)
    broken_others = retrieval_scores(judgements, lambda _: np.array([[0.9, *[np.nan] * 10]]), 11)
    assert broken_answer.recall[0] == broken_others.recall[0] == 0


def test_many_blocks_give_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    grades = generator.choice([-1, 0, 1, 2], size=(30, 50))
    scores = np.round(generator.normal(size=(30, 50)), 1)
    whole = scored(grades, scores)
    monkeypatch.setattr("mlexport.evaluate.retrieval._BLOCK", 120)
    parts = scored(grades, scores)
    assert (parts.ndcg == whole.ndcg).all()
    assert (parts.recall == whole.recall).all()


def test_judgements_of_some_queries() -> None:
    generator = np.random.default_rng(4)
    grades = generator.choice([-1, 0, 1], size=(9, 30))
    scores = generator.normal(size=(9, 30))
    query, document = np.nonzero(grades >= 0)
    judgements = Judgements(queries=9, query=query, document=document, grade=grades[query, document])
    kept = np.array([1, 4, 8])
    some = retrieval_scores(judgements.only(kept), lambda places: scores[kept][places], 30)
    assert (some.ndcg == scored(grades, scores).ndcg[kept]).all()


def test_neighbours_are_those_of_scikit_learn_and_scipy() -> None:
    generator = np.random.default_rng(5)
    full = generator.normal(size=(50, 24)).astype(np.float32)
    cut = full[:, :8] + 0.2 * generator.normal(size=(50, 8)).astype(np.float32)
    anchors = choose_anchors(50, seed=0, limit=20)
    ours = neighbour_scores(anchors, cosine_scorer(full, full), cosine_scorer(cut, cut), 50)
    near = [
        NearestNeighbors(n_neighbors=11, metric="cosine").fit(side).kneighbors(side[anchors], return_distance=False)
        for side in (full, cut)
    ]
    overlap = [len(set(a[1:]) & set(b[1:])) / 10 for a, b in zip(*near, strict=True)]
    assert ours.overlap == pytest.approx(np.array(overlap))
    for place, anchor in enumerate(anchors):
        sides = [np.delete(side @ side[anchor] / np.linalg.norm(side, axis=1), anchor) for side in (full, cut)]
        assert ours.correlation[place] == pytest.approx(scipy.stats.spearmanr(*sides).statistic, abs=1e-6)
    assert 0.2 < ours.overlap.mean() < 0.9


def test_fewer_anchors_in_a_large_corpus() -> None:
    assert choose_anchors(1442, seed=0).tolist() == list(range(1442))
    assert len(choose_anchors(5000, seed=0)) == 2000
    some = choose_anchors(40_000, seed=0)
    assert len(some) == len(set(some.tolist())) == 500
    assert (np.diff(some) > 0).all()
    assert len(choose_anchors(10**6, seed=0)) == 200


def test_a_model_that_gives_one_vector_keeps_no_neighbours() -> None:
    """All similarities tie: against it, whatever the corpus's order is."""
    full = np.random.default_rng(6).normal(size=(30, 8)).astype(np.float32)
    flat = np.ones((30, 8), dtype=np.float32)
    lost = neighbour_scores(np.arange(30), cosine_scorer(full, full), cosine_scorer(flat, flat), 30)
    assert lost.overlap.max() == lost.correlation.max() == 0
    kept = neighbour_scores(np.arange(30), cosine_scorer(full, full), cosine_scorer(2 * full, full), 30)
    assert kept.overlap.min() == 1
    assert kept.correlation.min() == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=30))
def test_spearman_with_ties_is_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert spearman(x, y) == 0
    else:
        assert spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)


def test_intervals_are_scipys() -> None:
    generator = np.random.default_rng(7)
    full = generator.beta(3, 1, size=300)
    cut = np.clip(full - generator.beta(1, 8, size=300), 0, 1)
    ours = bootstrap_means([full, cut], resamples=9999)

    def ratio(f: Float64, c: Float64, axis: int) -> Float64:
        return c.mean(axis=axis) / f.mean(axis=axis)

    theirs = scipy.stats.bootstrap(
        (full, cut), ratio, paired=True, vectorized=True, method="percentile", n_resamples=9999, rng=1
    ).confidence_interval
    retained = ours.ratio(1, 0)
    width = theirs.high - theirs.low
    assert retained.value == pytest.approx(cut.mean() / full.mean())
    assert (retained.low, retained.high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * width)
    alone = scipy.stats.bootstrap((cut,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    mean = ours.mean(1)
    assert (mean.low, mean.high) == pytest.approx((alone.low, alone.high), abs=0.06 * (alone.high - alone.low))
    # Unpaired it would be several times wider: the pairing is what makes a small loss visible
    unpaired = scipy.stats.bootstrap(
        (full, cut), ratio, vectorized=True, method="percentile", n_resamples=2000, rng=1
    ).confidence_interval
    assert unpaired.high - unpaired.low > 1.5 * width


def test_strata_weigh_the_same_and_a_seed_repeats() -> None:
    values = np.array([1.0] * 90 + [0.0] * 10)
    strata = [np.arange(90), np.arange(90, 100)]
    found = bootstrap_means([values], strata, resamples=50)
    assert found.mean(0).value == found.mean(0).low == 0.5
    again, other = (bootstrap_means([values], resamples=50, seed=seed).mean(0) for seed in (0, 1))
    assert again == bootstrap_means([values], resamples=50).mean(0)
    assert again != other


def test_a_share_of_nothing_is_not_defined() -> None:
    found = bootstrap_means([np.zeros(5), np.ones(5)], resamples=20)
    assert found.ratio(1, 0).value is None
    assert found.ratio(0, 1).value == 0
