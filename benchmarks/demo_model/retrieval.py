"""Retrieval measures and vectors of every depth, by transformers and numpy alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Vectors = NDArray[np.float32]
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """BEIR's three files with one relevant document a query; `relevant` are places in `documents`."""

    documents: list[str]
    queries: list[str]
    languages: NDArray[np.str_]
    relevant: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> EvaluationSet:
        """Read corpus.jsonl, queries.jsonl and qrels/test.tsv."""
        corpus = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
        queries = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
        place = {document["_id"]: i for i, document in enumerate(corpus)}
        lines = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
        relevant = {query: place[document] for query, document, _ in (line.split("\t") for line in lines)}
        return cls(
            documents=[document["text"] for document in corpus],
            queries=[query["text"] for query in queries],
            languages=np.array([query["metadata"]["language"] for query in queries]),
            relevant=np.array([relevant[query["_id"]] for query in queries]),
        )

    def only(self, language: str) -> EvaluationSet:
        """The queries of one language, all documents."""
        keep = self.languages == language
        return EvaluationSet(
            documents=self.documents,
            queries=[query for query, kept in zip(self.queries, keep, strict=True) if kept],
            languages=self.languages[keep],
            relevant=self.relevant[keep],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One number a query, 0 to 1."""

    ndcg_at_10: NDArray[np.float64]
    recall_at_10: NDArray[np.float64]


def score(queries: Vectors, documents: Vectors, relevant: NDArray[np.int64]) -> Scores:
    """nDCG@10 and recall@10 of cosine ranking, one relevant document a query.

    With a single relevant document of gain 1 the ideal DCG is 1, so nDCG@10 is 1 / log2(1 + rank), ranks from 1
    (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002). A tie counts against us.
    """
    q, d = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (queries, documents))
    similar = q @ d.T
    own = similar[np.arange(len(relevant)), relevant]
    rank = (similar >= own[:, None]).sum(1)  # the document itself is counted: ranks from 1
    hit = rank <= 10
    return Scores(ndcg_at_10=np.where(hit, 1 / np.log2(1 + rank), 0.0), recall_at_10=hit.astype(np.float64))


@torch.no_grad()
def vectors_by_depth(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], depths: Sequence[int]
) -> Vectors:
    """Last-token vectors after each depth and the final norm, not normalised; float32 [depths, texts, hidden]."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    out = np.empty((len(depths), len(texts), model.config.hidden_size), np.float32)
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        batch = tokenizer([texts[i] for i in part], padding=True, truncation=True, return_tensors="pt")
        states = model(**batch, output_hidden_states=True, use_cache=False).hidden_states
        last = batch["attention_mask"].sum(1) - 1
        rows = torch.arange(len(part))
        for place, depth in enumerate(depths):
            pooled = states[depth][rows, last]
            # transformers applies the final norm to the last entry only
            out[place, part] = (pooled if depth == model.config.num_hidden_layers else model.norm(pooled)).numpy()
    return out
