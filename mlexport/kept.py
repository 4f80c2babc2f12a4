"""Which tokens of a checkpoint's vocabulary stay in a cut, as data and as the artifact's `vocabulary.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlexport.errors import ArtifactError
from mlexport.tensors import Float32, LazyTensor

KEPT_FILE = "vocabulary.json"
# Rows between two kept ones that are read and dropped rather than read around: a read costs more than they do
_READ_THROUGH = 16
# Kept rows of one read: with the rows read through, it holds no more than this many times 16 rows
_ROWS_AT_ONCE = 256

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTokens:
    """Tokens that stay; a token's new id is its place among them, in the order of the old ids.

    Attributes:
        runs: (first, one past the last) of original ids, ascending, none touching the next.
        rows: rows of the original token table.
    """

    runs: tuple[tuple[int, int], ...]
    rows: int

    @classmethod
    def of(cls, ids: Iterable[int], rows: int) -> KeptTokens:
        """The tokens of some original ids, in any order."""
        found = np.array(sorted(set(ids)), dtype=np.int64)
        parts = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1) if found.size else []
        return cls(runs=tuple((int(part[0]), int(part[-1]) + 1) for part in parts), rows=rows)

    @property
    def count(self) -> int:
        """Tokens kept, which are the rows of the new table."""
        return sum(stop - start for start, stop in self.runs)

    @property
    def ids(self) -> Ids:
        """Original id of each new one, int64 [count]."""
        return np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in self.runs])

    def new_ids(self) -> dict[int, int]:
        """New id of each original one."""
        return {old: new for new, old in enumerate(self.ids.tolist())}

    def gathered(self, tensor: LazyTensor) -> LazyTensor:
        """The kept rows of a table [rows, columns], read when asked for."""
        ids = self.ids

        def read_rows(start: int, stop: int) -> Float32:
            wanted = ids[start:stop]
            breaks = np.flatnonzero(np.diff(wanted) > _READ_THROUGH) + 1
            places = np.union1d(breaks, np.arange(_ROWS_AT_ONCE, len(wanted), _ROWS_AT_ONCE))
            out = np.empty((len(wanted), *tensor.shape[1:]), dtype=np.float32)
            for first, last in zip([0, *places], [*places, len(wanted)], strict=True):
                part = wanted[first:last]
                if part.size:
                    out[first:last] = tensor.read_rows(int(part[0]), int(part[-1]) + 1)[part - part[0]]
            return out

        shape = (len(ids), *tensor.shape[1:])
        return LazyTensor(name=tensor.name, shape=shape, stored=tensor.stored, read_rows=read_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLengths:
    """How long texts are in tokens, end tokens aside, under the original vocabulary and under what is left of it."""

    texts: int
    characters: int
    tokens_before: int
    tokens_after: int

    @property
    def before(self) -> float:
        """Tokens per character (Unicode code point) before."""
        return self.tokens_before / max(1, self.characters)

    @property
    def after(self) -> float:
        """Tokens per character after."""
        return self.tokens_after / max(1, self.characters)


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyReport:
    """What a vocabulary slice left, and what that does to the length of texts.

    Attributes:
        asked: the option's values in words.
        tokens_before, tokens: tokens of the tokenizer, and those kept.
        merge_parents: those of `tokens` that stay for no other reason than to make others.
        probes: the probe texts' lengths.
        corpus: the lengths of the texts of `--vocab corpus:…`; None without it.
        bytes_saved: exact bytes that the table is smaller by, for each variant that takes ids.
    """

    asked: str
    tokens_before: int
    tokens: int
    merge_parents: int
    probes: SplitLengths
    corpus: SplitLengths | None
    bytes_saved: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChange:
    """What a vocabulary slice did to texts that it splits otherwise than the whole vocabulary.

    Attributes:
        texts: their number.
        mean_cosine, min_cosine: of the reference's vectors of both splits; None where no text's split changed.
        worst_text: the text of `min_cosine`, cut to 80 characters.
    """

    texts: int
    mean_cosine: float | None
    min_cosine: float | None
    worst_text: str


def write_kept(kept: KeptTokens | None, folder: Path) -> None:
    """Write vocabulary.json, which makes the same cut again; nothing where every row was kept."""
    if kept is None:
        return
    content = {"rows": kept.rows, "kept": kept.count, "runs": [list(run) for run in kept.runs]}
    (folder / KEPT_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_kept(folder: Path) -> KeptTokens | None:
    """Read vocabulary.json of an artifact; None where there is none.

    Raises:
        ArtifactError: it is not what `write_kept` writes.
    """
    path = folder / KEPT_FILE
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rows, runs = data["rows"], [(start, stop) for start, stop in data["runs"]]
        numbers = [rows, *(number for run in runs for number in run)]
        if not runs or not all(type(number) is int for number in numbers):
            raise ValueError("not runs of whole numbers")
        kept = KeptTokens(runs=tuple(runs), rows=rows)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path} cannot be read: {' '.join(str(error).split())}. Make the artifact again") from None
    bounds = [-1, *(number for run in runs for number in run), rows + 1]
    if any(a >= b for a, b in pairwise(bounds)) or kept.count != data.get("kept"):
        raise ArtifactError(f"{path} does not hold ascending runs within {rows} rows. Make the artifact again")
    return kept
