"""Texts and documents from files, and which of them are nearest."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from mlexport.errors import UsageError
from mlexport.search import DEFAULT_CORPUS, Document, nearest, read_documents, read_texts


def test_nearest_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((50, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[7]
    documents = [Document(id=str(i), title="", text="") for i in range(50)]
    hits = nearest(query, vectors, documents, 5)
    scores = cosine_similarity(query[None], vectors)[0]
    assert [hit.document.id for hit in hits] == [str(i) for i in np.argsort(-scores)[:5]]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)


def test_ties_stay_in_order_and_a_small_corpus_gives_what_it_has() -> None:
    documents = [Document(id=str(i), title="", text="") for i in range(3)]
    hits = nearest(np.ones(1, np.float32), np.ones((3, 1), np.float32), documents, 10)
    assert [hit.document.id for hit in hits] == ["0", "1", "2"]


def test_a_text_file_gives_one_document_a_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("\ufeffone\r\n\n  zwei \nдва".encode())
    assert [(d.id, d.content) for d in read_documents(path)] == [("1", "one"), ("3", "zwei"), ("4", "два")]


def test_json_lines_give_id_title_and_text(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rows = [{"_id": "x", "title": "T", "text": "body"}, {"text": "line\u2028two"}]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert [(d.id, d.content) for d in read_documents(path)] == [("x", "T body"), ("2", "line\u2028two")]
    assert read_texts(path) == ("T body", "line\u2028two")


def test_the_built_in_corpus_can_be_read() -> None:
    assert len(read_documents(DEFAULT_CORPUS)) > 1000


def test_texts_keep_empty_lines_so_that_rows_and_lines_agree(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"a\n\n b \r\n")
    assert read_texts(path) == ("a", "", " b ")


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("ゲーム\n".encode()), encoding="ascii"))
    assert read_texts(Path("-")) == ("ゲーム",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.jsonl", b"\n\n", "is empty"),
        ("a.txt", b"ok\xff\xfe", "is not UTF-8 text: byte 2 is 0xff"),
        ("a.txt", b"GGUF\x00\x00", "is not text: it holds zero bytes"),
        ("a.jsonl", b"{", "line 1 is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n[]', 'line 2 has no "text"'),
        ("a.jsonl", b'{"text": 1}', 'line 1 has no "text"'),
        ("a.jsonl", b'{"text": "a", "title": 1}', '"title" must be text'),
        ("a.jsonl", b'{"_id": "x", "text": "a"}\n{"_id": "x", "text": "b"}', "line 2: id 'x' stands twice"),
    ],
)
def test_a_file_that_is_no_corpus_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_documents(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "gone.txt", "does not exist"), (tmp_path, "is a folder")):
        for read in (read_documents, read_texts):
            with pytest.raises(UsageError, match=message):
                read(path)
