"""Calibration texts: the user's, or the built-in set, and where they came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mlexport.errors import UsageError
from mlexport.request import BUILTIN_TEXTS
from mlexport.search import DEFAULT_CORPUS, read_documents, read_texts

# Sentences in 50 languages, written for this; the probes of verification are other ones
_SENTENCES = Path(__file__).parent.parent / "data" / "calibration" / "texts.txt"
# Documents of the evaluation set, evenly spread, and none of its queries: these are what retention is measured with
_DOCUMENTS = 144
# More texts cost time and tell no more about moments
MOST_TEXTS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTexts:
    """Texts and their origin.

    Attributes:
        name: "builtin", or the file's name.
        sha256: of the texts that are used, each with a newline behind it, in hex.
    """

    name: str
    texts: tuple[str, ...]
    sha256: str


def read_calibration(source: str) -> CalibrationTexts:
    """The texts of `--calibrate`: "builtin", or a file with one text a line (or .jsonl with "text").

    A file with more than MOST_TEXTS texts gives that many, evenly spread. Empty lines are no texts.

    Raises:
        UsageError: missing, empty, or not such a file.
    """
    if source == BUILTIN_TEXTS:
        documents = [document.content for document in read_documents(DEFAULT_CORPUS)]
        sentences = [text.replace("\\n", "\n") for text in read_texts(_SENTENCES)]
        return _found(BUILTIN_TEXTS, [*sentences, *spread(documents, _DOCUMENTS)])
    texts = [text for text in read_texts(Path(source)) if text.strip()]
    if not texts:
        raise UsageError(f"{source} holds no text to calibrate with: expected one text a line, 100 or more")
    return _found(Path(source).name, spread(texts, MOST_TEXTS))


def spread(texts: list[str], count: int) -> list[str]:
    """At most so many texts, evenly spread over the list."""
    if len(texts) <= count:
        return texts
    return [texts[place * len(texts) // count] for place in range(count)]


def _found(name: str, texts: list[str]) -> CalibrationTexts:
    digest = hashlib.sha256("".join(f"{text}\n" for text in texts).encode("utf-8", errors="replace"))
    return CalibrationTexts(name=name, texts=tuple(texts), sha256=digest.hexdigest())
