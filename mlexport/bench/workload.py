"""Real text of exact token counts, by an artifact's own tokenizer.

The sentences are the queries of the evaluation set in the package: descriptions of software in 16 languages. A text is
sentences of one language after the other, cut at the character where the count is met; where a language has too few,
the next one follows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlexport.errors import MeasureError

_QUERIES = Path(__file__).parents[1] / "data" / "evaluation" / "queries.jsonl"
# Different texts of a length: so many that a cache of the last one helps nobody
TEXTS = 8
# Scripts in turn; the other languages of the set follow
_LANGUAGES = ("en", "ja", "de", "ru", "ko", "fr", "zh_CN", "uk")
# Characters around the first try: merges make counts go down and up again within a word
_WINDOW = 24
# Single tokens of about any vocabulary, for texts that jump over the count: a character may be several tokens
_FILLERS = (" a", " 1", " .", "1")
_MOST_FILLERS = 8
_MORE = " and some words more" * 4

# Texts -> token count of each, the end token included
Count = Callable[[Sequence[str]], Sequence[int]]


def compose(count: Count, tokens: int, texts: int = TEXTS) -> tuple[str, ...]:
    """Different texts of exactly `tokens` tokens each, the end token included.

    Args:
        count: counts by the tokenizer of the model that will run them; it may cut texts that are longer than `tokens`.

    Raises:
        MeasureError: a tokenizer for which no text has that count.
    """
    sentences = _sentences()
    names = [name for name in _LANGUAGES if name in sentences]
    names += sorted(set(sentences) - set(names))
    return tuple(_exact(count, tokens, _stream(sentences, names, number)) for number in range(texts))


def _sentences() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in _QUERIES.read_text(encoding="utf-8").splitlines():
        query = json.loads(line)
        found.setdefault(query["metadata"]["language"], []).append(query["text"])
    return found


def _stream(sentences: dict[str, list[str]], names: Sequence[str], number: int) -> Iterator[str]:
    """Sentences of a language from a place of its own, then of those that follow it."""
    while True:
        for step in range(len(names)):
            found = sentences[names[(number + step) % len(names)]]
            start = (number // len(names)) * 7 % len(found)
            yield from found[start:]
            yield from found[:start]


def _exact(count: Count, tokens: int, sentences: Iterator[str]) -> str:
    text = next(sentences)
    while count([text])[0] < tokens:
        # Doubling: few counts also of long texts
        more = [next(sentences)]
        while sum(map(len, more)) < len(text):
            more.append(next(sentences))
        text = " ".join([text, *more])
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count([text[:middle]])[0] < tokens else (low, middle)
    cuts = [text[:end] for end in range(max(1, high - _WINDOW), min(len(text), high + _WINDOW) + 1)]
    counts = count(cuts)
    # A tokenizer that cuts at this very count gives it to longer texts too
    if count([text + _MORE])[0] > tokens:
        whole = [cut for cut, found in zip(cuts, counts, strict=True) if found == tokens and not cut[-1].isspace()]
        if whole:
            return whole[-1]
    for cut, found in reversed(list(zip(cuts, counts, strict=True))):
        for one in _FILLERS if 2 <= tokens - found <= _MOST_FILLERS else ():
            grown = [cut + one * times for times in range(1, tokens - found + 1)]
            # One token more each time, the last time as well
            if list(count(grown)) == list(range(found + 1, tokens + 1)):
                return grown[-1]
    raise MeasureError(f"no text of exactly {tokens} tokens was found for this tokenizer: choose another length")
