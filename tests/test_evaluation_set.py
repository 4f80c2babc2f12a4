"""The packaged evaluation set: BEIR's layout, many languages, nothing that the demo checkpoint was trained on."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import mlexport

FOLDER = Path(mlexport.__file__).parent / "data" / "evaluation"
# The training split, restated: benchmarks/demo_model/corpus.py holds out one package in 40 by its name
HELD_OUT_ONE_IN = 40


def read_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def documents() -> dict[str, str]:
    return {line["_id"]: line["text"] for line in read_lines("corpus.jsonl")}


@pytest.fixture(scope="module")
def queries() -> dict[str, dict[str, Any]]:
    return {line["_id"]: line for line in read_lines("queries.jsonl")}


@pytest.fixture(scope="module")
def judgements() -> list[list[str]]:
    lines = (FOLDER / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t") == ["query-id", "corpus-id", "score"]
    return [line.split("\t") for line in lines[1:]]


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_identifiers_are_unique_and_texts_are_not_empty(name: str) -> None:
    lines = read_lines(name)
    assert len({line["_id"] for line in lines}) == len(lines)
    assert all(line["text"].strip() for line in lines)


def test_documents_are_different_texts(documents: dict[str, str]) -> None:
    assert len(set(documents.values())) == len(documents)


def test_every_query_has_one_judgement_of_an_existing_document(
    documents: dict[str, str], queries: dict[str, dict[str, Any]], judgements: list[list[str]]
) -> None:
    assert Counter(query for query, _, _ in judgements) == Counter(list(queries))
    assert {document for _, document, _ in judgements} <= set(documents)
    assert {score for _, _, score in judgements} == {"1"}


def test_english_and_at_least_eight_other_languages(queries: dict[str, dict[str, Any]]) -> None:
    counts = Counter(query["metadata"]["language"] for query in queries.values())
    assert counts["en"] >= 1000
    assert len(counts) >= 9
    assert min(counts.values()) >= 30
    assert all(name.split("/")[0] == query["metadata"]["language"] for name, query in queries.items())


def test_no_package_of_the_training_part(documents: dict[str, str], queries: dict[str, dict[str, Any]]) -> None:
    packages = set(documents) | {name.split("/", 1)[1] for name in queries}
    assert [name for name in packages if zlib.crc32(name.encode()) % HELD_OUT_ONE_IN != 0] == []


def test_documents_are_cut_at_a_space(documents: dict[str, str]) -> None:
    assert max(len(text) for text in documents.values()) <= 220


def test_its_readme_states_origin_and_licence(documents: dict[str, str], queries: dict[str, dict[str, Any]]) -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "Debian" in text
    assert "bookworm" in text
    assert "## Licence" in text
    assert "not under mlexport's Apache-2.0 licence" in text
    assert f"{len(documents)} documents" in text
    assert f"{len(queries)} queries" in text
