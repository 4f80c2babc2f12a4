"""Texts of like length run together, padded right: for runtimes that take ids and a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mlexport.tensors import Float32

BATCH = 16

Ids = NDArray[np.int64]


def in_batches(rows: Sequence[Sequence[int]], dim: int, pad_id: int, run: Callable[[Ids, Ids], Float32]) -> Float32:
    """Vectors of token ids, float32 [rows, dim], in the order of `rows`.

    Args:
        rows: the ids of each text, at least one.
        run: (ids, mask), both int64 [batch, longest] -> float32 [batch, dim].
    """
    vectors = np.empty((len(rows), dim), dtype=np.float32)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        vectors[part] = run(*padded([rows[i] for i in part], pad_id))
    return vectors


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Ids, Ids]:
    """Ids and mask, both int64 [rows, longest], padded right."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask
