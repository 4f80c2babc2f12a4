"""A byte-level BPE from its tokenizer.json: tokens as bytes, merges, and the tokenizer that is left of a part of it."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlexport.errors import CheckpointError
from mlexport.kept import KeptTokens

BYTES = 256
# Bytes that stand for themselves in a token's text; the others are moved past them, in order (GPT-2's encoder.py)
_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_MOVED = {byte: BYTES + place for place, byte in enumerate(b for b in range(BYTES) if b not in _PRINTABLE)}
# Character of a token's text -> character whose code is the byte
_BYTE_OF = {_MOVED.get(byte, byte): byte for byte in range(BYTES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteLevelBpe:
    """What tokenizer.json says about tokens.

    Attributes:
        tokens: id -> bytes of every ordinary token.
        merges: (left, right, result) as ids, in order of priority.
        singles: ids of the 256 bytes.
        added: ids of special and other added tokens, and of what is put around texts.
    """

    tokens: Mapping[int, bytes]
    merges: tuple[tuple[int, int, int], ...]
    singles: frozenset[int]
    added: frozenset[int]

    @property
    def ids(self) -> frozenset[int]:
        """Every token's id."""
        return self.added.union(self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A token's bytes as text between what it holds of a character before and of one behind.

    Attributes:
        head: bytes that end a character begun in the token before; all of the token, if it holds no character's end.
        tail: bytes that begin a character.
    """

    head: bytes
    text: str
    tail: bytes


def read_bpe(tokenizer: Mapping[str, Any], path: Path) -> ByteLevelBpe:
    """The tokens and merges of a tokenizer.json that the `tokenizers` library accepts.

    Args:
        path: its file, for messages.

    Raises:
        CheckpointError: another kind of tokenizer, one without all 256 bytes, or a damaged one.
    """
    model = tokenizer.get("model") or {}
    what = _other_kind(tokenizer)
    if what is not None:
        raise CheckpointError(f"{path} is {what}: --vocab cuts byte-level BPE only. Leave it out")
    vocabulary: Mapping[str, int] = model["vocab"]
    singles = [vocabulary.get(chr(character)) for character in _BYTE_OF]
    known = frozenset(single for single in singles if single is not None)
    if len(known) < BYTES:
        raise CheckpointError(f"{path} has only {len(known)} of the {BYTES} bytes: a cut could lose text")
    try:
        merges = tuple(_merge(entry, vocabulary) for entry in model["merges"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: a merge names a token that is not there ({error})") from None
    added = frozenset(token["id"] for token in tokenizer.get("added_tokens") or ())
    tokens = {number: _bytes(token) for token, number in vocabulary.items() if number not in added}
    added |= _named(tokenizer.get("post_processor"))
    if tokenizer.get("padding"):
        added |= {tokenizer["padding"]["pad_id"]}
    return ByteLevelBpe(tokens=tokens, merges=merges, singles=known, added=added)


def closed(bpe: ByteLevelBpe, ids: Iterable[int]) -> set[int]:
    """The tokens of `ids` and all that any merge needs to make them, and in turn what makes those.

    Every merge that makes a kept token is closed over, not only the first. With that, a text whose tokens all stay
    is split by the remaining merges as before:

    A BPE run only ever joins neighbours, so each token that it makes on the way is part of one at its end. If those
    at the end are kept, so are all on the way: their merges make kept tokens, whose parents were kept. Now run both
    side by side. From the same state the old run takes the first merge that fits, in order of priority and then of
    place. That merge is among the remaining ones, which are a part of the old ones in the old order; so it is also
    the first of them that fits, and both reach the same next state. Where no old merge fits, no remaining one does.

    Closing over one merge alone would break this: where both (a, bc) and (ab, c) make abc, the text decides by its
    other merges which of them comes to pass. A tokenizer with `ignore_merges` takes a word that is a token as it is,
    before any merge, and so does what is left of it, if that token is kept.
    """
    parents: dict[int, list[int]] = {}
    for left, right, result in bpe.merges:
        parents.setdefault(result, []).extend((left, right))
    kept: set[int] = set()
    waiting = list(ids)
    while waiting:
        token = waiting.pop()
        if token not in kept:
            kept.add(token)
            waiting += parents.get(token, ())
    return kept


def pieces(data: bytes) -> Pieces | None:
    """A token's bytes taken apart where UTF-8 characters begin; None for bytes that no text has."""
    start = next((place for place, byte in enumerate(data) if byte & 0xC0 != 0x80), len(data))
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(data[start:])
    except UnicodeDecodeError:
        return None
    return Pieces(head=data[:start], text=text, tail=decoder.getstate()[0])


def sliced_tokenizer(tokenizer: Mapping[str, Any], kept: KeptTokens) -> dict[str, Any]:
    """tokenizer.json with the kept tokens under their new ids, and the merges whose parents and result are left."""
    new_ids = kept.new_ids()
    model = tokenizer["model"]
    vocabulary = {token: new_ids[old] for token, old in model["vocab"].items() if old in new_ids}
    # In the order of ids, as the library itself writes them
    vocabulary = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    merges = [entry for entry in model["merges"] if all(token in vocabulary for token in _three(entry))]
    added = [token | {"id": new_ids[token["id"]]} for token in tokenizer.get("added_tokens") or ()]
    padding = tokenizer.get("padding")
    return {
        **tokenizer,
        "padding": padding and padding | {"pad_id": new_ids[padding["pad_id"]]},
        "added_tokens": added,
        "post_processor": _renumbered(tokenizer.get("post_processor"), new_ids),
        "model": model | {"vocab": vocabulary, "merges": merges},
    }


def _renumbered(processor: Mapping[str, Any] | None, new_ids: Mapping[int, int]) -> dict[str, Any] | None:
    """A post-processor with the new ids of the tokens it puts around a text."""
    if processor is None:
        return None
    content = dict(processor)
    if "processors" in content:
        content["processors"] = [_renumbered(part, new_ids) for part in content["processors"]]
    if "special_tokens" in content:
        content["special_tokens"] = {
            name: token | {"ids": [new_ids[old] for old in token["ids"]]}
            for name, token in content["special_tokens"].items()
        }
    # BertProcessing and RobertaProcessing: [token, id]
    for key in {"sep", "cls"} & set(content):
        content[key] = [content[key][0], new_ids[content[key][1]]]
    return content


def _named(processor: Mapping[str, Any] | None) -> frozenset[int]:
    """Ids that a post-processor names."""
    if processor is None:
        return frozenset()
    found = {old for token in (processor.get("special_tokens") or {}).values() for old in token["ids"]}
    found |= {processor[key][1] for key in ("sep", "cls") if key in processor}
    return frozenset(found).union(*map(_named, processor.get("processors") or ()))


def _other_kind(tokenizer: Mapping[str, Any]) -> str | None:
    """What a tokenizer is that is no byte-level BPE."""
    model, pre = tokenizer.get("model") or {}, tokenizer.get("pre_tokenizer") or {}
    kinds = [part.get("type") for part in (pre, *(pre.get("pretokenizers") or ()))]
    if model.get("type") != "BPE":
        return f"a tokenizer of type {model.get('type')}"
    if "ByteLevel" not in kinds or model.get("byte_fallback"):
        return "a BPE of characters"
    marks = [key for key in ("continuing_subword_prefix", "end_of_word_suffix") if model.get(key)]
    return f"a BPE with {marks[0]}" if marks else None


def _merge(entry: str | list[str], vocabulary: Mapping[str, int]) -> tuple[int, int, int]:
    left, right, result = (vocabulary[token] for token in _three(entry))
    return left, right, result


def _three(entry: str | list[str]) -> tuple[str, str, str]:
    """Left, right and result of a merge: a pair since tokenizers 0.20, before that one string."""
    left, right = entry.split(" ") if isinstance(entry, str) else entry
    return left, right, left + right


def _bytes(token: str) -> bytes:
    try:
        return token.translate(_BYTE_OF).encode("latin-1")
    except UnicodeEncodeError:
        # Not written in the alphabet of bytes, so no merge and no text reaches it
        return token.encode()
