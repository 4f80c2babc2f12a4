"""Unicode's composed normal form (NFC) as nodes: no operator of ONNX Runtime or its extensions has it.

A trie turns a string into ids, one for a byte, or one for a whole character that normalisation touches. Tables
indexed by these ids then decompose, order marks, and compose, as Unicode's chapter 3.11 says; the trie's reverse
gives strings again. Exact for the Unicode version of the Python that wrote the file; characters after a NUL are
lost, because the trie operator ends a string there.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlexport.export.onnx.builder import EXTENSIONS, Builder, Value

# Above every combining class: a starter that stands between
_BARRIER = 255
# The longest canonical decomposition
_PARTS = 4
_PAD = 0
_INT32, _INT64, _BOOL = (kind.value for kind in (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL))

Table = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Indexed by id: 0 is padding, 1 to 256 are bytes, then come characters, then one id for nothing.

    Attributes:
        vocabulary: lines of the trie operators, without the last id.
        parts: [ids, 4], the full decomposition; 0 behind its end.
        classes: combining class.
        first, second: row and column in `pairs`; 0 for characters that never are the one or the other.
        pairs: [rows, columns], the id of the composed character, 0 for none.
        opens: 1 where a new sequence starts that later characters may be composed into.
    """

    vocabulary: str
    nothing: int
    parts: Table
    classes: Table
    first: Table
    second: Table
    pairs: Table
    opens: Table


def compose(b: Builder, text: Value) -> Value:
    """NFC of strings [batch], none of them empty."""
    tables = _tables()
    b.scope("tokenizer/nfc")
    ids = b.op("TrieTokenizer", text, domain=EXTENSIONS, vocab=tables.vocabulary)
    ids = _composed(b, tables, _decomposed(b, tables, ids))
    ids = b.op("Where", b.op("Equal", ids, b.const(_PAD)), b.const(tables.nothing), ids)
    empty = f"{tables.vocabulary}\n{tables.nothing} '' 0"
    return b.op("TrieDetokenizer", ids, domain=EXTENSIONS, vocab=empty)


def _decomposed(b: Builder, tables: _Tables, ids: Value) -> Value:
    """Full decompositions, marks in canonical order, padding last."""
    parts = b.op("Gather", _table(b, tables.parts), ids, axis=0)
    parts = b.op("Reshape", parts, b.const([0, -1]))
    padding = b.op("Equal", parts, b.const(_PAD))
    classes = b.op("Gather", _table(b, tables.classes), parts, axis=0)
    starters = b.op("And", b.op("Equal", classes, b.const(0)), b.op("Not", padding))
    starters = b.op("Cast", starters, to=_INT64)
    # Starter by starter; inside, by class; inside, as they stand
    order = b.op("Add", b.op("Mul", b.op("CumSum", starters, b.const(1)), b.const(256)), classes)
    order = b.op("Where", padding, b.const(np.iinfo(np.int32).max), order)
    width = b.op("Gather", b.op("Shape", parts), b.const([1]))
    order = b.op("Add", b.op("Mul", order, width), _positions(b, width))
    places = b.ops("TopK", order, width, axis=1, largest=0, sorted=1, outputs=2)[1]
    ordered = b.op("GatherElements", parts, places, axis=1)
    kept = b.op("ReduceSum", b.op("Cast", b.op("Not", padding), to=_INT64), b.const([1]), keepdims=0)
    longest = b.op("ReduceMax", kept, b.const([0]), keepdims=1)
    return b.op("Slice", ordered, b.const([0]), longest, b.const([1]))


def _composed(b: Builder, tables: _Tables, ids: Value) -> Value:
    """Each opening character with what follows it: the n-th characters behind all of them in the n-th turn."""
    width = b.op("Gather", b.op("Shape", ids), b.const([1]))
    positions = b.op("Add", b.op("Mul", ids, b.const(0)), _positions(b, width))
    # Whatever lies behind the row's end is padding
    padded = b.op("Pad", ids, b.const([0, 0, 0, 1]), b.const(_PAD))

    def turn(number: Value, state: Sequence[Value]) -> tuple[Value, Sequence[Value]]:
        current, last, is_open, gone = state
        distance = b.op("Add", number, b.const(1))
        follower = b.op("GatherElements", padded, b.op("Min", b.op("Add", positions, distance), width), axis=1)
        opens = b.op("Cast", b.op("Gather", _table(b, tables.opens), follower, axis=0), to=_BOOL)
        ends = b.op("Or", opens, b.op("Equal", follower, b.const(_PAD)))
        is_open = b.op("And", is_open, b.op("Not", ends))
        found = _paired(b, tables, current, follower)
        own = b.op("Gather", _table(b, tables.classes), follower)
        blocked = b.op("And", b.op("GreaterOrEqual", last, own), b.op("Greater", last, b.const(0)))
        fits = b.op("And", b.op("Greater", found, b.const(0)), b.op("Not", blocked))
        taken = b.op("And", is_open, fits)
        current = b.op("Where", taken, found, current)
        stays = b.op("And", is_open, b.op("Not", taken))
        barrier = b.op("Where", b.op("Equal", own, b.const(0)), b.const(_BARRIER), own)
        last = b.op("Where", stays, b.op("Max", last, barrier), last)
        back = b.op("Sub", positions, distance)
        taken = b.op("GatherElements", taken, b.op("Max", back, b.const(0)), axis=1)
        gone = b.op("Or", gone, b.op("And", taken, b.op("GreaterOrEqual", back, b.const(0))))
        return b.op("ReduceMax", b.op("Cast", is_open, to=_INT32), keepdims=0), [current, last, is_open, gone]

    opens = b.op("Cast", b.op("Gather", _table(b, tables.opens), ids, axis=0), to=_BOOL)
    none = b.op("Less", positions, b.const(0))
    current, _, _, gone = b.loop(turn, [ids, b.op("Mul", ids, b.const(0)), opens, none])
    return b.op("Where", gone, b.const(_PAD), current)


def _paired(b: Builder, tables: _Tables, first: Value, second: Value) -> Value:
    """The composed character of two, 0 for none."""
    place = b.op("Mul", b.op("Gather", _table(b, tables.first), first), b.const(tables.pairs.shape[1]))
    place = b.op("Add", place, b.op("Gather", _table(b, tables.second), second))
    return b.op("Gather", _table(b, tables.pairs.reshape(-1)), place)


def _table(b: Builder, table: Table) -> Value:
    """Stored in 16 bits: there are some 15000 ids."""
    return b.op("Cast", b.const(table, np.int16), to=_INT64)


def _positions(b: Builder, width: Value) -> Value:
    """0, 1, 2, …, int64 [1, width]."""
    stop = b.op("Squeeze", width)
    return b.op("Unsqueeze", b.op("Range", b.const(0), stop, b.const(1)), b.const([0]))


@cache
def _tables() -> _Tables:
    composed = _primary_pairs()
    touched = {c for c in _characters() if unicodedata.combining(c) > 0 or unicodedata.normalize("NFD", c) != c}
    touched |= {part for c in touched for part in unicodedata.normalize("NFD", c)}
    touched |= {c for pair in composed for c in pair}
    names = [bytes([byte]) for byte in range(256)] + [c.encode() for c in sorted(touched) if ord(c) > 127]
    ids = {name: number for number, name in enumerate(names, start=1)}
    of = {c: ids[c.encode()] for c in touched}
    size = len(names) + 2
    parts = np.zeros((size, _PARTS), dtype=np.int64)
    parts[:, 0] = np.arange(size)
    classes = np.zeros(size, dtype=np.int64)
    for c, number in of.items():
        decomposed = [of[part] for part in unicodedata.normalize("NFD", c)]
        parts[number, : len(decomposed)] = decomposed
        classes[number] = unicodedata.combining(c)
    first, second, pairs = _pair_tables({(of[a], of[c]): of[both] for (a, c), both in composed.items()}, size)
    opens = ((classes == 0) & (second == 0)).astype(np.int64)
    opens[_PAD] = 0
    return _Tables(
        vocabulary="\n".join(f"{number} {_quoted(name)} {len(name)}" for name, number in ids.items()),
        nothing=size - 1,
        parts=parts,
        classes=classes,
        first=first,
        second=second,
        pairs=pairs,
        opens=opens,
    )


def _pair_tables(composed: Mapping[tuple[int, int], int], size: int) -> tuple[Table, Table, Table]:
    """Rows and columns of ids, and the matrix of what they compose to."""
    places = []
    for side in (0, 1):
        table = np.zeros(size, dtype=np.int64)
        members = sorted({pair[side] for pair in composed})
        table[members] = np.arange(1, len(members) + 1)
        places.append(table)
    first, second = places
    pairs = np.zeros((first.max() + 1, second.max() + 1), dtype=np.int64)
    for (a, c), both in composed.items():
        pairs[first[a], second[c]] = both
    return first, second, pairs


def _characters() -> Iterator[str]:
    """All of Unicode that UTF-8 can hold."""
    return (chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF)


def _primary_pairs() -> dict[tuple[str, str], str]:
    """(first, second) -> the one character that NFC makes of them."""
    pairs = {}
    for c in _characters():
        if unicodedata.normalize("NFC", c) != c:
            continue
        decomposed = unicodedata.normalize("NFD", c)
        if len(decomposed) > 1:
            pairs[unicodedata.normalize("NFC", decomposed[:-1]), decomposed[-1]] = c
    return pairs


def _quoted(name: bytes) -> str:
    """As the trie operators read names: bytes escaped, characters as they are."""
    return f"b'\\x{name[0]:02x}'" if len(name) == 1 else f"'{name.decode()}'"
