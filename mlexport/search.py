"""Texts and documents from files, and the nearest documents to a query."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlexport.errors import UsageError
from mlexport.tensors import Float32

# The evaluation set's documents: what `search` looks through when no corpus is named
DEFAULT_CORPUS = Path(__file__).parent / "data" / "evaluation" / "corpus.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text to find. `title` may be empty; `id` is the file's own, or the line's number from 1."""

    id: str
    title: str
    text: str

    @property
    def content(self) -> str:
        """What is embedded: title and text, as in BEIR."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A document found: rank from 1, cosine to the query."""

    rank: int
    score: float
    document: Document


def nearest(query: Float32, vectors: Float32, documents: Sequence[Document], top: int) -> tuple[Hit, ...]:
    """The documents with the highest cosine to a query, best first; ties in the corpus's order.

    Args:
        query: float32 [dim], L2-normalised.
        vectors: float32 [documents, dim], L2-normalised.
    """
    scores = vectors @ query
    order = np.argsort(-scores, kind="stable")[:top]
    return tuple(
        Hit(rank=rank, score=float(scores[i]), document=documents[i]) for rank, i in enumerate(order.tolist(), start=1)
    )


def read_documents(path: Path) -> tuple[Document, ...]:
    """Documents of a corpus: `.jsonl` with "text" and perhaps "title" and "_id", else one text a line.

    Raises:
        UsageError: missing, empty, not UTF-8, a line that is not such an object, or an id that stands twice.
    """
    found: list[Document] = []
    seen: set[str] = set()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        document = _document(line, number, path) if path.suffix == ".jsonl" else _plain(line, number)
        if document.id in seen:
            raise UsageError(f"{path}, line {number}: id '{document.id}' stands twice")
        seen.add(document.id)
        found.append(document)
    if not found:
        raise UsageError(f"{path} is empty: a corpus has one text a line, or one JSON object with a text")
    return tuple(found)


def read_texts(path: Path) -> tuple[str, ...]:
    """Texts of a file, one a line, an empty line being an empty text; "-" is standard input.

    A `.jsonl` file gives each object's title and text.

    Raises:
        UsageError: missing, empty, or not UTF-8.
    """
    if path.suffix == ".jsonl":
        return tuple(document.content for document in read_documents(path))
    content = read_text(path)
    if not content:
        raise UsageError(f"{'standard input' if str(path) == '-' else path} is empty: expected one text a line")
    return tuple(line.removesuffix("\r") for line in content.removesuffix("\n").split("\n"))


def read_text(path: Path) -> str:
    """The file as text; one line says why where that fails."""
    try:
        # Not read_text: it would turn a lone \r inside a text into the end of a line
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from None
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder: expected a text file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if "\0" in text:
        raise UsageError(f"{path} is not text: it holds zero bytes")
    return text


def _plain(line: str, number: int) -> Document:
    return Document(id=str(number), title="", text=line.strip())


def _document(line: str, number: int, path: Path) -> Document:
    where = f"{path}, line {number}"
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        raise UsageError(f'{where} has no "text": expected {{"_id": …, "title": …, "text": …}}')
    title, name = data.get("title", ""), data.get("_id", number)
    if not isinstance(title, str) or not isinstance(name, str | int):
        raise UsageError(f'{where}: "title" must be text, "_id" text or a number')
    return Document(id=str(name), title=title, text=data["text"])
