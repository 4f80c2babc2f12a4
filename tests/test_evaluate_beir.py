"""Folders in BEIR's layout as users have them, and one clear line for each that is malformed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlexport.errors import UsageError
from mlexport.evaluate.beir import RetrievalSet, read_retrieval_set

DOCUMENTS = [
    {"_id": "d1", "title": "Soup", "text": "tomatoes and salt"},
    {"_id": "d2", "title": None, "text": "bread"},
    {"_id": 3, "text": "wine"},
]
QUERIES = [
    {"_id": "q1", "text": "what to cook", "metadata": {"language": "en"}},
    {"_id": "q2", "text": "was trinken", "metadata": {"language": "de", "source": "x"}},
    {"_id": "q3", "text": "never judged", "metadata": {}},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t1\nq2\t3\t1\n"


def jsonl(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write(folder: Path, **files: str) -> Path:
    """A sound folder, some files of which are replaced: corpus, queries, qrels."""
    content = {"corpus": jsonl(DOCUMENTS), "queries": jsonl(QUERIES), "qrels": QRELS} | files
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(content["corpus"], encoding="utf-8")
    (folder / "queries.jsonl").write_text(content["queries"], encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(content["qrels"], encoding="utf-8")
    return folder


def facts(found: RetrievalSet) -> list[tuple[str, str, int]]:
    """Judgements by their ids."""
    j = found.judgements
    ids = [d.id for d in found.documents] + ["(missing)"]
    rows = zip(j.query.tolist(), j.document.tolist(), j.grade.tolist(), strict=True)
    return [(found.queries[q].id, ids[d], g) for q, d, g in rows]


def test_grades_titles_languages_and_what_was_not_judged(tmp_path: Path) -> None:
    found = read_retrieval_set(write(tmp_path / "data"))
    assert facts(found) == [("q1", "d1", 2), ("q1", "d2", 1), ("q2", "3", 1)]
    assert [document.content for document in found.documents] == ["Soup tomatoes and salt", "bread", "wine"]
    assert [(query.id, query.language) for query in found.queries] == [("q1", "en"), ("q2", "de")]
    assert found.languages == ("de", "en")
    assert (found.split, found.notes) == ("test", ("1 queries have no judgement in test.tsv: left out",))


QRELS_FORMS = {
    "without a header": "q1\td1\t2\nq1\td2\t1\nq2\t3\t1\n",
    "windows": QRELS.replace("\n", "\r\n"),
    "trec": "q1 0 d1 2\nq1 0 d2 1\nq2 0 3 1\n",
    "decimals": "query-id\tcorpus-id\tscore\nq1\td1\t2.0\nq1\td2\t1.0\nq2\t3\t1.0\n",
    "repeated": QRELS + "q1\td1\t2\n",
}


@pytest.mark.parametrize("form", QRELS_FORMS)
def test_other_forms_of_qrels(tmp_path: Path, form: str) -> None:
    found = read_retrieval_set(write(tmp_path / "data", qrels=QRELS_FORMS[form]))
    assert facts(found) == [("q1", "d1", 2), ("q1", "d2", 1), ("q2", "3", 1)]


def test_negative_grades_and_missing_documents(tmp_path: Path) -> None:
    found = read_retrieval_set(
        write(tmp_path / "data", qrels="q1\td1\t-1\nq1\td2\t0\nq2\tgone\t1\nq2\t3\t1\nq9\td1\t1\n")
    )
    assert facts(found) == [("q1", "d1", 0), ("q1", "d2", 0), ("q2", "(missing)", 1), ("q2", "3", 1)]
    assert found.notes == (
        "1 queries have no judgement in test.tsv: left out",
        "1 judged queries are not in queries.jsonl: left out",
        "1 relevant documents are not in corpus.jsonl: counted as never found",
        "1 queries have no relevant document: counted as 0",
    )


def test_splits(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    (folder / "qrels" / "dev.tsv").write_text("q2\td1\t1\n", encoding="utf-8")
    assert read_retrieval_set(folder).split == "test"
    assert facts(read_retrieval_set(folder, "dev")) == [("q2", "d1", 1)]
    with pytest.raises(UsageError, match=r"qrels has no train\.tsv: choose --split from dev, test"):
        read_retrieval_set(folder, "train")
    (folder / "qrels" / "test.tsv").unlink()
    assert read_retrieval_set(folder).split == "dev"
    (folder / "qrels" / "dev.tsv").rename(folder / "qrels.tsv")
    assert read_retrieval_set(folder).split == "qrels"


def test_a_sample_repeats_and_is_said(tmp_path: Path) -> None:
    whole = read_retrieval_set("builtin")
    assert (len(whole.documents), len(whole.queries), len(whole.languages)) == (1442, 5797, 16)
    some = whole.sampled(100, seed=3)
    assert [q.id for q in some.queries] == [q.id for q in whole.sampled(100, seed=3).queries]
    assert [q.id for q in some.queries] != [q.id for q in whole.sampled(100, seed=4).queries]
    # One relevant document each, still the query's own
    assert len(facts(some)) == 100
    assert set(facts(some)) <= set(facts(whole))
    assert some.notes == ("100 of 5,797 queries, drawn with seed 3 (--sample)",)
    assert whole.sampled(6000, seed=0) is whole
    with pytest.raises(UsageError, match="--sample 0: the least is 1 query"):
        whole.sampled(0, seed=0)


def broken(name: str, content: str, message: str) -> tuple[Callable[[Path], Path], str]:
    return lambda folder: write(folder, **{name: content}), message


def without(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder)
        (folder / name).unlink()
        return folder

    return make


MALFORMED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no folder": (
        lambda folder: folder,
        "--data {0} does not exist: expected 'builtin', or a folder with corpus.jsonl",
    ),
    "no corpus": (without("corpus.jsonl"), "{0}/corpus.jsonl does not exist"),
    "no queries": (without("queries.jsonl"), "{0}/queries.jsonl does not exist"),
    "no qrels": (without("qrels/test.tsv"), "{0}/qrels has no .tsv file: expected judgements 'query-id <tab>"),
    "not json": broken("corpus", jsonl(DOCUMENTS) + "{oops\n", "{0}/corpus.jsonl, line 4 is not JSON: "),
    "no text": broken("corpus", '\n{"_id": "a"}\n', '{0}/corpus.jsonl, line 2 has no "text": expected {{"_id"'),
    "text is a number": broken("queries", '{"_id": "a", "text": 3}\n', '{0}/queries.jsonl, line 1 has no "text"'),
    "an array": broken("queries", "[1]\n", '{0}/queries.jsonl, line 1 has no "text"'),
    "no id": broken(
        "corpus", '{"text": "a"}\n', '{0}/corpus.jsonl, line 1 has no "_id": expected text or a number, got'
    ),
    "id twice": broken("corpus", '{"_id": 1, "text": "a"}\n{"_id": "1", "text": "b"}\n', "line 2: id '1' stands twice"),
    "title": broken("corpus", '{"_id": 1, "title": 4, "text": "a"}\n', '{0}/corpus.jsonl, line 1: "title" is int'),
    "metadata": broken("queries", '{"_id": 1, "text": "a", "metadata": [1]}\n', 'line 1: "metadata" must be an object'),
    "language": broken("queries", '{"_id": 1, "text": "", "metadata": {"language": 1}}\n', 'its "language" text'),
    "empty corpus": broken("corpus", "\n\n", "{0}/corpus.jsonl is empty: expected one JSON object a line"),
    "columns": broken("qrels", "q1\td1\n", "{0}/qrels/test.tsv, line 1 has 2 columns: expected 'query-id <tab>"),
    "score": broken(
        "qrels", QRELS + "q1\td9\tmuch\n", "{0}/qrels/test.tsv, line 5: score 'much' is not a whole number"
    ),
    "half": broken("qrels", "q1\td1\t0.5\n", "{0}/qrels/test.tsv, line 1: score '0.5' is not a whole number"),
    "infinite": broken("qrels", QRELS + "q1\td9\tinf\n", "line 5: score 'inf' is not a whole number"),
    "huge": broken("qrels", QRELS + "q1\td9\t1e300\n", "line 5: score '1e300' is not a whole number"),
    "surrogate": broken("corpus", '{"_id": 1, "text": "ab\\ud800"}\n', "line 1: character 3 of the text is half of a"),
    "title's": broken("corpus", '{"_id": 1, "title": "\\udc00", "text": "a"}\n', "line 1: character 1 of the text is"),
    "two scores": broken("qrels", QRELS + "q1\td1\t1\n", "line 5: query 'q1', document 'd1' has two scores"),
    "header alone": broken("qrels", "query-id\tcorpus-id\tscore\n", "{0}/qrels/test.tsv has no judgement: expected"),
    "other ids": broken("qrels", "x\ty\t1\n", "judges no query and document of queries.jsonl and corpus.jsonl: its"),
    "bytes": (lambda folder: _bytes(write(folder)), "{0}/corpus.jsonl is not UTF-8 text: byte 0 is 0xff"),
}


def _bytes(folder: Path) -> Path:
    (folder / "corpus.jsonl").write_bytes(b"\xff\xfe\x00")
    return folder


@pytest.mark.parametrize("name", MALFORMED)
def test_one_line_names_file_line_and_what_is_wrong(tmp_path: Path, name: str) -> None:
    make, message = MALFORMED[name]
    folder = make(tmp_path / "data")
    with pytest.raises(UsageError) as raised:
        read_retrieval_set(folder)
    assert message.format(folder) in str(raised.value)
    assert "\n" not in str(raised.value)
