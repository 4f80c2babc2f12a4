"""Tasks of mteb's kinds whose data is in this file: what `mlexport eval --mteb` runs without a network."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

COMMON: dict[str, Any] = {
    "description": "texts of a test",
    "reference": None,
    "dataset": {"path": "local", "revision": "local"},
    "category": "t2t",
    "modalities": ["text"],
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
    "date": ("2026-01-01", "2026-01-02"),
    "domains": [],
    "task_subtypes": [],
    "license": "apache-2.0",
    "annotations_creators": "derived",
    "dialect": [],
    "sample_creation": "created",
    "bibtex_citation": "",
}
WORDS = ("soup", "bread", "wine", "cheese", "tea", "coffee", "rice", "salt")
DOCUMENTS = {f"d{i}": (word.title(), f"all about {word}, number {i}") for i, word in enumerate(WORDS * 2)}
QUERIES = {f"q{i}": f"where is the {word}" for i, word in enumerate(WORDS)}
RELEVANT = {f"q{i}": {f"d{i}": 2, f"d{i + 8}": 1} for i in range(8)}
PAIRS = [(a, b, float(i % 5)) for i, (a, b) in enumerate(pairwise(WORDS))]


class LocalRetrieval(AbsTaskRetrieval):
    """Two relevant documents a query, with titles."""

    metadata = TaskMetadata(type="Retrieval", name="LocalRetrieval", main_score="ndcg_at_10", **COMMON)

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        split = RetrievalSplitData(
            corpus=Dataset.from_list([{"id": i, "title": t, "text": x} for i, (t, x) in DOCUMENTS.items()]),
            queries=Dataset.from_list([{"id": i, "text": x} for i, x in QUERIES.items()]),
            relevant_docs=RELEVANT,
            top_ranked=None,
        )
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


class LocalSTS(AbsTaskSTS):
    """Pairs of words with a score; it knows neither queries nor documents."""

    metadata = TaskMetadata(type="STS", name="LocalSTS", main_score="cosine_spearman", **COMMON)

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        rows = [{"sentence1": a, "sentence2": b, "score": score} for a, b, score in PAIRS]
        self.dataset = {"test": Dataset.from_list(rows)}
        self.data_loaded = True


class Broken(LocalRetrieval):
    """A task whose data cannot be had."""

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        raise ConnectionError("no route\nto the hub")
