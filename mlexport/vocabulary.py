"""Which tokens of a vocabulary stay: the first ones, those of scripts, those of a corpus, or all of these together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlexport.bpe import BYTES, ByteLevelBpe, closed, pieces, read_bpe, sliced_tokenizer
from mlexport.errors import CheckpointError, UsageError
from mlexport.kept import Ids, KeptTokens, SplitLengths, VocabularyReport
from mlexport.model import Checkpoint
from mlexport.probes import PROBES
from mlexport.scripts import Scripts, characters, parse_scripts
from mlexport.search import read_texts
from mlexport.textfacts import TOKENIZER
from mlexport.weights import read_json

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

SCRIPTS, CORPUS = "scripts:", "corpus:"
# Texts that are tokenised at once: enough for every core, few enough to hold their ids
_BATCH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyRequest:
    """What `--vocab` asks for; a token stays if any part asks for it.

    Attributes:
        asked: in words.
        first: number of lowest ids; None for none of them.
        scripts: tokens all of whose characters are in one of these.
        corpus: texts whose tokens stay.
        coverage: share of the corpus's tokens, the most frequent first, that must be among those kept.
    """

    asked: str
    first: int | None
    scripts: tuple[Scripts, ...]
    corpus: tuple[str, ...]
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The tokens that stay, and what that does to texts."""

    kept: KeptTokens
    report: VocabularyReport


def parse_vocabulary(values: Sequence[str], coverage: float | None = None) -> VocabularyRequest | None:
    """The request of the values of `--vocab`: a number, "scripts:Latn,Cyrl", "corpus:FILE"; None for no value.

    Args:
        coverage: of the corpus; None is all that it uses.

    Raises:
        UsageError: a value of another form, an unknown script, a corpus that cannot be read, or a coverage outside
            (0, 1] or without a corpus.
    """
    first, scripts, corpus = list[int](), list[Scripts](), list[str]()
    for value in values:
        if re.fullmatch(r"[0-9]{1,9}", value):
            first.append(int(value))
        elif value.startswith(SCRIPTS):
            scripts.append(parse_scripts(value.removeprefix(SCRIPTS)))
        elif value.startswith(CORPUS) and value != CORPUS:
            corpus += _read_corpus(Path(value.removeprefix(CORPUS)))
        else:
            raise UsageError(f"--vocab '{value}' is none of 32000 (a number of tokens), scripts:Latn,Cyrl, corpus:FILE")
    asked = " + ".join(values)
    if coverage is not None:
        if not corpus:
            raise UsageError("--vocab-coverage is for --vocab corpus:FILE: name a corpus, or leave the coverage out")
        if not 0 < coverage <= 1:
            raise UsageError(f"--vocab-coverage is {coverage:g}: expected a share above 0 and at most 1, such as 0.999")
        asked += f", coverage {coverage:g}"
    if not values:
        return None
    return VocabularyRequest(
        asked=asked,
        first=max(first, default=None),
        scripts=tuple(scripts),
        corpus=tuple(corpus),
        coverage=coverage or 1.0,
    )


def choose(checkpoint: Checkpoint, request: VocabularyRequest) -> Chosen:
    """The tokens that a request keeps of a checkpoint's vocabulary, closed under merges.

    The 256 bytes, special and other added tokens, and the tokens of the prompts always stay.

    Raises:
        UsageError: a number of tokens that cannot be, or nothing but single bytes is left.
        CheckpointError: the tokenizer is no byte-level BPE.
    """
    path = checkpoint.folder / TOKENIZER
    tokenizer = read_json(path)
    bpe = read_bpe(tokenizer, path)
    original = load_tokenizer(tokenizer)
    text, rows = checkpoint.text, checkpoint.config.vocabulary
    always = bpe.singles | bpe.added | {text.end_id, text.pad_id}
    if not always <= bpe.ids:
        raise CheckpointError(f"{path} lacks the token of id {min(always - bpe.ids)}, which ends or pads texts")
    wanted = set(always).union(*(ids.tolist() for ids in _ids(original, text.prompts.values())))
    wanted |= _first(bpe, request.first)
    for scripts in request.scripts:
        wanted |= _of_characters(bpe, characters(scripts))
    counts = [_counts(original, request.corpus, prompt, rows) for prompt in dict.fromkeys(["", *text.prompts.values()])]
    wanted |= _most_frequent(sum(counts[1:], counts[0]), request.coverage)
    ids = closed(bpe, wanted)
    if not any(result in ids for _, _, result in bpe.merges):
        raise UsageError(f"--vocab {request.asked} keeps no token of more than a byte: ask for more")
    kept = KeptTokens.of(ids, rows)
    left = load_tokenizer(sliced_tokenizer(tokenizer, kept))
    probes = [probe.text for probe in PROBES]
    report = VocabularyReport(
        asked=request.asked,
        tokens_before=len(bpe.ids),
        tokens=kept.count,
        merge_parents=len(ids) - len(wanted),
        probes=_lengths(probes, _total(original, probes), left),
        corpus=_lengths(request.corpus, int(counts[0].sum()), left) if request.corpus else None,
    )
    return Chosen(kept=kept, report=report)


def load_tokenizer(content: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer.json in the `tokenizers` library, neither cutting nor padding."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_corpus(path: Path) -> tuple[str, ...]:
    try:
        return read_texts(path)
    except UsageError as error:
        raise UsageError(f"--vocab corpus: {error}") from None


def _first(bpe: ByteLevelBpe, count: int | None) -> set[int]:
    if count is None:
        return set()
    if not BYTES < count <= len(bpe.ids):
        raise UsageError(
            f"--vocab {count} is out of range: this tokenizer has {len(bpe.ids)} tokens, and {BYTES} bytes always stay"
        )
    return set(sorted(bpe.ids)[:count])


def _of_characters(bpe: ByteLevelBpe, allowed: frozenset[str]) -> set[int]:
    """Tokens of allowed characters alone; a part of a character counts if some allowed one has it."""
    heads, tails = set[bytes](), set[bytes]()
    for data in (character.encode() for character in allowed if not character.isascii()):
        for place in range(1, len(data)):
            tails.add(data[:place])
            heads.add(data[place:])
    found = set()
    for number, data in bpe.tokens.items():
        parts = pieces(data)
        if parts is None or not allowed.issuperset(parts.text):
            continue
        if (not parts.head or parts.head in heads) and (not parts.tail or parts.tail in tails):
            found.add(number)
    return found


def _counts(original: Tokenizer, texts: Sequence[str], prompt: str, rows: int) -> Ids:
    """How often each token stands in texts behind a prompt, int64 [rows]; not in the prompt itself.

    A prompt's last token can grow into the text's first word.
    """
    counts = np.zeros(rows, dtype=np.int64)
    for ids in _ids(original, texts, prompt):
        counts += np.bincount(ids, minlength=rows)
    return counts


def _most_frequent(counts: Ids, coverage: float) -> set[int]:
    """The most frequent tokens that together are so large a share of all."""
    order = np.argsort(-counts, kind="stable")
    covered = np.cumsum(counts[order])
    # One more than those that fall short of the share; the product is rounded, so a hair is allowed for
    needed = int(np.searchsorted(covered, coverage * covered[-1] - 1e-6)) + 1
    return {number for number in order[:needed].tolist() if counts[number]}


def _ids(tokenizer: Tokenizer, texts: Iterable[str], prompt: str = "") -> Iterator[Ids]:
    """Ids of texts without end tokens, those of a batch in one array; behind a prompt, what reaches into the text."""
    texts = iter(texts)
    while batch := [prompt + text for text in islice(texts, _BATCH)]:
        if prompt:
            encoded = tokenizer.encode_batch(batch, add_special_tokens=False)
            rows = [[number for number, (_, end) in _placed(one) if end > len(prompt)] for one in encoded]
        else:
            rows = [one.ids for one in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
        yield np.concatenate([np.array(row, dtype=np.int64) for row in rows])


def _placed(encoding: Encoding) -> Iterator[tuple[int, tuple[int, int]]]:
    """Ids, each with the places of the characters it begins and ends at."""
    return zip(encoding.ids, encoding.offsets, strict=True)


def _total(tokenizer: Tokenizer, texts: Sequence[str]) -> int:
    return sum(int(ids.size) for ids in _ids(tokenizer, texts))


def _lengths(texts: Sequence[str], tokens_before: int, left: Tokenizer) -> SplitLengths:
    return SplitLengths(
        texts=len(texts),
        characters=sum(map(len, texts)),
        tokens_before=tokens_before,
        tokens_after=_total(left, texts),
    )
