"""Retrieval data in BEIR's layout, as users have it: corpus.jsonl, queries.jsonl, qrels/*.tsv."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlexport.errors import UsageError
from mlexport.evaluate.retrieval import Judgements
from mlexport.search import Document, read_text

BUILTIN = "builtin"
_BUILTIN_FOLDER = Path(__file__).parents[1] / "data" / "evaluation"
CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
# The split that BEIR's own tables are made from
DEFAULT_SPLIT = "test"
_LARGEST_GRADE = 1_000_000
# A judgement's document that the corpus does not have
_MISSING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question; `language` is that of its metadata, None where there is none."""

    id: str
    text: str
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSet:
    """Documents, judged queries, and which document answers which query.

    Attributes:
        name: the folder, or "builtin".
        split: name of the qrels file.
        judgements: places in `queries` and `documents`, with grades.
        notes: what was left out of the files, a sentence each.
    """

    name: str
    split: str
    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    judgements: Judgements
    notes: tuple[str, ...] = ()

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the queries, those with most queries first; empty where none is named."""
        named = [query.language for query in self.queries if query.language is not None]
        return tuple(sorted(set(named), key=lambda name: (-named.count(name), name)))

    def sampled(self, count: int, seed: int) -> RetrievalSet:
        """So many queries, drawn without replacement; all documents stay.

        Raises:
            UsageError: `count` is below 1.
        """
        if count < 1:
            raise UsageError(f"--sample {count}: the least is 1 query")
        if count >= len(self.queries):
            return self
        kept = np.sort(np.random.default_rng(seed).choice(len(self.queries), size=count, replace=False))
        note = f"{count:,} of {len(self.queries):,} queries, drawn with seed {seed} (--sample)"
        return replace(
            self,
            queries=tuple(self.queries[i] for i in kept.tolist()),
            judgements=self.judgements.only(kept),
            notes=(*self.notes, note),
        )


def read_retrieval_set(data: str | Path, split: str | None = None) -> RetrievalSet:
    """Read a folder in BEIR's layout.

    Relevance is graded: a score above 0 is a relevant document, and is its gain. Queries without a judgement are left
    out, as BEIR's loader does; a judged document that the corpus lacks counts as one that is never found, as
    trec_eval counts it.

    Args:
        data: "builtin", or a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv (or qrels.tsv).
        split: name of the qrels file; None takes "test", or the only one there is.

    Raises:
        UsageError: a file is missing, or a line of it malformed; one sentence with file and line.
    """
    folder = _BUILTIN_FOLDER if str(data) == BUILTIN else Path(data)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UsageError(f"--data {data} {what}: expected '{BUILTIN}', or a folder with {CORPUS}, {QUERIES}, {QRELS}/")
    qrels = _qrels_file(folder, split)
    documents = tuple(_documents(folder / CORPUS))
    queries = tuple(_queries(folder / QUERIES))
    grades = _grades(qrels)
    found = _joined(documents, queries, grades, qrels)
    return replace(found, name=str(data), split=qrels.stem)


def _qrels_file(folder: Path, split: str | None) -> Path:
    """The file of judgements to use."""
    found = {path.stem: path for path in sorted((folder / QRELS).glob("*.tsv"))}
    if not found and (folder / f"{QRELS}.tsv").is_file():
        found = {QRELS: folder / f"{QRELS}.tsv"}
    if not found:
        raise UsageError(
            f"{folder / QRELS} has no .tsv file: expected judgements 'query-id <tab> corpus-id <tab> score'"
        )
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    chosen = DEFAULT_SPLIT if split is None else split
    if chosen not in found:
        raise UsageError(f"{folder / QRELS} has no {chosen}.tsv: choose --split from {', '.join(found)}")
    return found[chosen]


def _objects(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(where, id, object) of each line; ids are unique, and every object has a text."""
    seen: set[str] = set()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where} is not JSON: {error}") from None
        if not isinstance(data, dict) or not isinstance(data.get("text"), str):
            raise UsageError(f'{where} has no "text": expected {{"_id": …, "text": …}}')
        _check_text(data["text"], where)
        name = data.get("_id", data.get("id"))
        if not isinstance(name, str | int) or isinstance(name, bool) or name == "":
            raise UsageError(f'{where} has no "_id": expected text or a number, got {name!r}')
        if str(name) in seen:
            raise UsageError(f"{where}: id '{name}' stands twice")
        seen.add(str(name))
        yield where, str(name), data
    if not seen:
        raise UsageError(f"{path} is empty: expected one JSON object a line")


def _check_text(text: str, where: str) -> None:
    """Refuse half of a surrogate pair, which JSON can write and no tokenizer can read."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: character {error.start + 1} of the text is half of a surrogate pair") from None


def _documents(path: Path) -> Iterator[Document]:
    for where, name, data in _objects(path):
        title = data.get("title") or ""
        if not isinstance(title, str):
            raise UsageError(f'{where}: "title" is {type(title).__name__}, expected text')
        _check_text(title, where)
        yield Document(id=name, title=title, text=data["text"])


def _queries(path: Path) -> Iterator[Query]:
    for where, name, data in _objects(path):
        metadata = data.get("metadata") or {}
        language = metadata.get("language") if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(language, str | None):
            raise UsageError(f'{where}: "metadata" must be an object, its "language" text')
        yield Query(id=name, text=data["text"], language=language or None)


def _grades(path: Path) -> dict[tuple[str, str], int]:
    """(query id, document id) -> grade, in the file's order."""
    grades: dict[tuple[str, str], int] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        query, document, score = _columns(line.removesuffix("\r"), f"{path}, line {number}")
        try:
            grade = _whole(score)
        except ValueError:
            # Only a first line may be a header
            if number == 1 and not score.strip().lstrip("+-").replace(".", "", 1).isdigit():
                continue
            raise UsageError(f"{path}, line {number}: score '{score}' is not a whole number") from None
        if grades.setdefault((query, document), grade) != grade:
            raise UsageError(f"{path}, line {number}: query '{query}', document '{document}' has two scores")
    if not grades:
        raise UsageError(f"{path} has no judgement: expected lines 'query-id <tab> corpus-id <tab> score'")
    return grades


def _columns(line: str, where: str) -> tuple[str, str, str]:
    """Query, document, score; TREC's own files have an unused second column."""
    columns = line.split("\t") if "\t" in line else line.split()
    if len(columns) == 4:
        del columns[1]
    if len(columns) != 3 or not columns[0].strip() or not columns[1].strip():
        raise UsageError(f"{where} has {len(columns)} columns: expected 'query-id <tab> corpus-id <tab> score'")
    return columns[0].strip(), columns[1].strip(), columns[2]


def _whole(text: str) -> int:
    """A grade; some files write 1.0.

    Raises:
        ValueError: not a whole number.
    """
    number = float(text)
    if not number.is_integer() or abs(number) > _LARGEST_GRADE:
        raise ValueError
    return int(number)


def _joined(
    documents: tuple[Document, ...], queries: tuple[Query, ...], grades: Mapping[tuple[str, str], int], path: Path
) -> RetrievalSet:
    judged = {query for query, _ in grades}
    kept = tuple(query for query in queries if query.id in judged)
    query_place = {query.id: i for i, query in enumerate(kept)}
    document_place = {document.id: i for i, document in enumerate(documents)}
    known = [(query_place[q], document_place.get(d, _MISSING), g) for (q, d), g in grades.items() if q in query_place]
    if not known or all(document == _MISSING for _, document, _ in known):
        first = next(iter(grades))
        raise UsageError(
            f"{path} judges no query and document of {QUERIES} and {CORPUS}: its first line names "
            f"'{first[0]}' and '{first[1]}'"
        )
    columns: NDArray[np.int64] = np.array(known, dtype=np.int64).T
    judgements = Judgements(queries=len(kept), query=columns[0], document=columns[1], grade=np.maximum(columns[2], 0))
    relevant = judgements.document[judgements.grade > 0]
    notes = (
        _note(len(queries) - len(kept), f"queries have no judgement in {path.name}: left out"),
        _note(len(judged) - len(kept), f"judged queries are not in {QUERIES}: left out"),
        _note(int((relevant == _MISSING).sum()), f"relevant documents are not in {CORPUS}: counted as never found"),
        _note(int((judgements.relevant == 0).sum()), "queries have no relevant document: counted as 0"),
    )
    return RetrievalSet(
        name="",
        split="",
        documents=documents,
        queries=kept,
        judgements=judgements,
        notes=tuple(note for note in notes if note),
    )


def _note(count: int, text: str) -> str:
    return f"{count:,} {text}" if count else ""
