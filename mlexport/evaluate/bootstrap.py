"""Paired bootstrap: how far means and their ratios would move with other queries of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlexport.evaluate.retrieval import Float64, Places
from mlexport.retained import UNDEFINED, Estimate

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0
# Draws are kept for the next artifact of the same queries: so many bytes of them at most, and so many sets
_KEPT_BYTES, _KEPT_SETS = 2**26, 32
# Resamples of one matrix product
_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Means of columns, and the same means in each resample.

    Attributes:
        value: float64 [columns].
        resampled: float64 [resamples, columns].
    """

    value: Float64
    resampled: Float64

    def mean(self, column: int) -> Estimate:
        """One column's mean."""
        return _estimate(float(self.value[column]), self.resampled[:, column])

    def ratio(self, column: int, base: int) -> Estimate:
        """One column's mean as a share of another's; resamples in which that is zero are left out."""
        if self.value[base] == 0:
            return UNDEFINED
        usable = self.resampled[:, base] > 0
        shares = self.resampled[usable, column] / self.resampled[usable, base]
        return _estimate(float(self.value[column] / self.value[base]), shares)


def bootstrap_means(
    columns: Sequence[Float64],
    strata: Sequence[Places] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Means:
    """Resample whole rows with replacement: what one query got in every column stays together (paired).

    Args:
        columns: float64 [rows] each, at least one row.
        strata: places of rows; each stratum is resampled by itself, and the mean is that of the strata's means.
            None is one stratum of all rows.
        seed: the same seed and rows give the same interval.
    """
    values = np.stack(columns, axis=1)
    groups = [np.arange(len(values))] if strata is None else list(strata)
    if strata is None and len(values) * resamples * np.dtype(np.uint16).itemsize <= _KEPT_BYTES:
        parts = [_with_draws(_draws(len(values), resamples, seed), values)]
    else:
        generator = np.random.default_rng(seed)
        parts = [_resampled(values[group], resamples, generator) for group in groups]
    return Means(
        value=np.mean([values[group].mean(axis=0) for group in groups], axis=0),
        resampled=np.mean(parts, axis=0),
    )


def _resampled(values: Float64, resamples: int, generator: np.random.Generator) -> Float64:
    """Means of resampled rows, float64 [resamples, columns]."""
    rows = len(values)
    found = np.empty((resamples, values.shape[1]))
    for number in range(resamples):
        counts = np.bincount(generator.integers(rows, size=rows), minlength=rows)
        found[number] = counts @ values / rows
    return found


@lru_cache(maxsize=_KEPT_SETS)
def _draws(rows: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """How often each resample draws each row, uint16 [resamples, rows]: those of `_resampled` with a new generator."""
    generator = np.random.default_rng(seed)
    found = np.empty((resamples, rows), dtype=np.uint16)
    for number in range(resamples):
        found[number] = np.bincount(generator.integers(rows, size=rows), minlength=rows)
    return found


def _with_draws(draws: NDArray[np.uint16], values: Float64) -> Float64:
    """Means of resampled rows, float64 [resamples, columns]."""
    parts = [draws[start : start + _AT_ONCE] @ values for start in range(0, len(draws), _AT_ONCE)]
    found: Float64 = np.concatenate(parts) / len(values)
    return found


def _estimate(value: float, resampled: Float64) -> Estimate:
    """The percentile interval (Efron and Tibshirani, 1993, chapter 13)."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(value=value, low=float(low), high=float(high))
