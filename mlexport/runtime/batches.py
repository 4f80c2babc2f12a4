"""Texts of like length run together, padded right: for runtimes that take ids and a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mlexport.tensors import Float32, StoredArray

BATCH = 16

Ids = NDArray[np.int64]


def in_batches(
    rows: Sequence[Sequence[int]],
    dim: int,
    run: Callable[[Ids, Ids], Float32],
    *,
    pad_id: int,
    shape: tuple[int, int] | None = None,
) -> Float32:
    """Vectors of token ids, float32 [rows, dim], in the order of `rows`.

    Args:
        rows: the ids of each text, at least one.
        run: (ids, mask), both int64 [batch, longest] -> float32 [batch, dim].
        shape: the only (batch, tokens) that `run` takes; None where any will do.
    """
    vectors = np.empty((len(rows), dim), dtype=np.float32)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    size = BATCH if shape is None else shape[0]
    for start in range(0, len(order), size):
        part = order[start : start + size]
        # The last batch of a fixed size is filled up with its first text
        filled = part if shape is None else [*part, *part[:1] * (size - len(part))]
        found = run(*padded([rows[i] for i in filled], pad_id, None if shape is None else shape[1]))
        vectors[part] = found[: len(part)]
    return vectors


def one_by_one(
    rows: Sequence[Sequence[int]],
    run: Callable[[Ids, Ids], tuple[Float32, StoredArray]],
    *,
    pad_id: int,
    shape: tuple[int, int] | None = None,
) -> tuple[Float32, StoredArray]:
    """Vectors, and the same as they are stored, of token ids a row at a time; arguments as of `in_batches`."""
    copies, tokens = (1, None) if shape is None else shape
    found = [run(*padded([row] * copies, pad_id, tokens)) for row in rows]
    return np.stack([vectors[0] for vectors, _ in found]), np.stack([codes[0] for _, codes in found])


def padded(rows: Sequence[Sequence[int]], pad_id: int, tokens: int | None = None) -> tuple[Ids, Ids]:
    """Ids and mask, both int64 [rows, tokens], padded right; as many tokens as the longest row has if none is given."""
    longest = max(map(len, rows)) if tokens is None else tokens
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask
