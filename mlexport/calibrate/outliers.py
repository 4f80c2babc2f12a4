"""Columns of inputs and weights that are far beyond the others, found from data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlexport.facts import Outlier
from mlexport.tensors import Float32

# Times the median of all columns. Columns of random matrices reach 1.3, those of the demo's layers 2.3
FAR = 8.0
# Outliers listed for a tensor; their number says how many there are
_LISTED = 8


def weight_outliers(name: str, rows: Float32) -> Outlier | None:
    """Columns of a matrix whose largest number is FAR times the median column's.

    Args:
        rows: float32 [rows, columns].
    """
    return _outlier(name, "weights", np.abs(rows).max(axis=0))


def input_outliers(name: str, mean_squares: NDArray[np.floating]) -> Outlier | None:
    """Columns of an input whose root mean square is FAR times the median column's, float [columns]."""
    return _outlier(name, "inputs", np.sqrt(mean_squares))


def _outlier(name: str, kind: str, sizes: NDArray[np.floating]) -> Outlier | None:
    median = float(np.median(sizes))
    if median <= 0:
        return None
    ratios = sizes / median
    far = np.flatnonzero(ratios > FAR)
    if not far.size:
        return None
    order = far[np.argsort(-ratios[far], kind="stable")]
    return Outlier(
        tensor=name,
        kind=kind,
        columns=tuple(order[:_LISTED].tolist()),
        count=int(far.size),
        largest=round(float(ratios.max()), 1),
    )
