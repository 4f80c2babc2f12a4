"""Columns of a matrix made alike by moving their size into the norm before it.

x = norm weight · x̂, so W x is the same with a column of W divided by s and the norm's weight multiplied by s. A few
columns of large numbers, which take the scale of every block they lie in, are gone after that. Factors are powers of
two: in float32 the product stays bit for bit the same. Whether it pays is measured on the calibration inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlexport.quantize.compensate import Float64, product_error
from mlexport.quantize.grids import grid, importance
from mlexport.spec import Target
from mlexport.tensors import Float32

# Shares of a column's size (as exponents) that are moved
_SHARES = (0.5, 1.0)
# Of the error without: a smaller gain is left, and the norm stays as it was trained
_WORTH = 0.8


def column_factors(
    target: Target, schemes: Sequence[str], matrices: Sequence[Float32], moments: Float64
) -> Float32 | None:
    """Factors float32 [columns] to divide the matrices' columns by; None where that does not pay.

    Args:
        schemes: of the matrices.
        matrices: float32 [rows, columns] each, that read the same input.
        moments: of that input, float64 [columns, columns].
    """
    sizes = np.max([np.abs(rows).max(axis=0) for rows in matrices], axis=0)
    if not sizes.all():
        return None
    ratios = np.log2(sizes / np.median(sizes))
    none = np.ones_like(sizes)
    tried = [none, *(np.exp2(np.rint(share * ratios)).astype(np.float32) for share in _SHARES)]
    errors = [_error(target, schemes, [rows / f for rows in matrices], moments * np.outer(f, f)) for f in tried]
    best = int(np.argmin(errors))
    return tried[best] if errors[best] < _WORTH * errors[0] else None


def _error(target: Target, schemes: Sequence[str], matrices: Sequence[Float32], moments: Float64) -> float:
    """Of the products, each number rounded to its nearest level."""
    total = 0.0
    for scheme, rows in zip(schemes, matrices, strict=True):
        made = grid(target, scheme, rows, importance(moments))
        if made is not None:
            total += product_error(rows - made.values(made.nearest(rows)), moments)
    return total
