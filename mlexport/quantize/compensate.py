"""Rounding that minimises the error of a matrix product instead of the error of each number.

The error of y = W x over calibration inputs x is tr(E H Eᵀ), with E = W - Ŵ and H = Σ x xᵀ. Columns are rounded one
after the other, the most used first, and each one's error is made up for by the columns still free, through the
Cholesky factor of H⁻¹: GPTQ (Frantar et al., 2022, arXiv:2210.17323) with fixed grids. Then sweeps of coordinate
descent on the same objective, each code in turn to its optimum, until they stop paying (QuantEase, Behdin et al.,
2023, arXiv:2309.01885).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlexport.quantize.grids import Codes, Grid
from mlexport.tensors import Float32

Float64 = NDArray[np.float64]
# Added to H's diagonal, as a share of its mean: inputs that the calibration texts never showed must not be free
DAMPING = 0.01
# Columns between two updates of everything behind them: bounds the traffic of rank-one updates
_LAZY = 128
_SWEEPS = 4


def damped(moments: Float64) -> Float64:
    """H with DAMPING on its diagonal, float64 [columns, columns]; an identity where nothing was seen."""
    mean = float(np.diag(moments).mean())
    return moments + np.eye(len(moments)) * (DAMPING * mean if mean > 0 else 1.0)


def corrected(rows: Float32, moments: Float64, cross: Float64) -> Float32:
    """The matrix that gives, on inputs x̂ of a model already rounded in part, what `rows` gives on the true x.

    argmin over V of Σ |W x - V x̂|² + damping |V - W|², which is (W Σ x x̂ᵀ + λ W) (Σ x̂ x̂ᵀ + λ)⁻¹.

    Args:
        rows: float32 [rows, columns].
        moments: Σ x̂ x̂ᵀ, float64 [columns, columns].
        cross: Σ x x̂ᵀ, float64 [columns, columns].
    """
    regular = damped(moments)
    target = rows @ (cross + (regular - moments))
    found: Float32 = np.linalg.solve(regular, target.T).T.astype(np.float32)
    return found


def product_error(error: Float32, moments: Float64) -> float:
    """tr(E H Eᵀ): the summed squared error of the products over the calibration inputs."""
    return float(((error @ moments) * error).sum())


def rounded(rows: Float32, grid: Grid, moments: Float64) -> Codes:
    """Codes of the grid, int16 [rows, columns], whose products are nearest to those of `rows`.

    Args:
        rows: float32 [rows, columns].
        moments: H, float64 [columns, columns].
    """
    regular = damped(moments)
    codes = _compensated(rows, grid, regular)
    return _descended(rows, grid, regular, codes)


def _compensated(rows: Float32, grid: Grid, moments: Float64) -> Codes:
    order = np.argsort(-np.diag(moments), kind="stable")
    inverse = np.linalg.inv(moments[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T.astype(np.float32)
    columns = grid.columns(order)
    # Columns first: what is updated lies in one piece
    left = np.ascontiguousarray(rows[:, order].T)
    codes = np.empty(left.shape, dtype=np.int16)
    for start in range(0, len(order), _LAZY):
        stop = min(start + _LAZY, len(order))
        errors = np.empty((stop - start, len(rows)), dtype=np.float32)
        for place in range(start, stop):
            codes[place], value = columns.nearest(place, left[place])
            error = (left[place] - value) / upper[place, place]
            errors[place - start] = error
            left[place + 1 : stop] -= upper[place, place + 1 : stop, None] * error
        left[stop:] -= upper[start:stop, stop:].T @ errors
    found: Codes = np.empty_like(codes)
    found[order] = codes
    return found.T


def _descended(rows: Float32, grid: Grid, moments: Float64, codes: Codes) -> Codes:
    h = moments.astype(np.float32)
    columns = grid.columns(np.arange(len(h)))
    codes = np.ascontiguousarray(codes.T)
    values = np.ascontiguousarray(grid.values(codes.T).T)
    # H (W - Ŵ)ᵀ: row j is the pull on column j; kept up to date inside a block, and behind it once a block
    pull = h @ (rows.T - values)
    for _ in range(_SWEEPS):
        changed = 0
        for start in range(0, len(h), _LAZY):
            block = slice(start, min(start + _LAZY, len(h)))
            before = values[block].copy()
            for j in range(block.start, block.stop):
                code, value = columns.nearest(j, values[j] + pull[j] / h[j, j])
                moved = int(np.count_nonzero(code != codes[j]))
                if moved:
                    pull[block] -= h[block, j, None] * (value - values[j])
                    values[j], codes[j] = value, code
                    changed += moved
            step = h[:, block] @ (values[block] - before)
            step[block] = 0
            pull -= step
        if changed < codes.size / 1000:
            break
    return codes.T
