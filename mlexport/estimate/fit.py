"""From measured times of a few models to what a runtime's time is made of: least squares, no number below zero.

Each measured time is a sum of unknown times by known amounts: operations of each scheme at each number of rows,
operations of attention at each number of tokens, bytes between the products, steps, and one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlexport.estimate.work import (
    Rows,
    Work,
    activation_bytes,
    attention_operations,
    passes,
    product_operations,
)

Key = tuple[str, str, int]
PRODUCT, ATTENTION, BETWEEN, STEP, CALL = "product", "attention", "between", "step", "call"
_ROUNDS = 4_000
_ENOUGH = 1e-7
# Weight of "as fast as with the next number of rows, and as the next scheme" beside a measured time: decides only what
# no model shows
_SMOOTH = {PRODUCT: 0.1, ATTENTION: 0.2}
_BELIEVED = 4.0
_TERA, _GIGA = 1e12, 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A time of one call, batch 1."""

    work: Work
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a runtime's time is made of.

    Attributes:
        schemes: scheme -> rows -> operations a second, 10^12.
        attention: tokens -> operations a second, 10^12.
        between: GB/s of activations.
        step, call: seconds.
        errors: predicted / measured - 1 of each measured time.
    """

    schemes: Mapping[str, Mapping[int, float]]
    attention: Mapping[int, float]
    between: float
    step: float
    call: float
    errors: tuple[float, ...]


def fit(measured: Sequence[Measured]) -> Fitted:
    """Fit one runtime's times."""
    amounts = [_amounts(one) for one in measured]
    keys = sorted({key for found in amounts for key in found})
    matrix = np.array([[found.get(key, 0.0) for key in keys] for found in amounts])
    seconds = np.array([one.seconds for one in measured])
    # Relative errors count, whatever the length
    rows = matrix / seconds[:, None]
    smooth = _smooth_rows(keys, rows)
    target = np.concatenate([np.ones(len(rows)), np.zeros(len(smooth))])
    times = non_negative(np.vstack([rows, smooth]), target)
    found = dict(zip(keys, times, strict=True))
    predicted = matrix @ times
    return Fitted(
        schemes=_rates(found),
        attention=_capped({rows: _rate(time) for (kind, _, rows), time in found.items() if kind == ATTENTION}),
        between=_rate(found[BETWEEN, "", 0]),
        step=found[STEP, "", 0],
        call=found[CALL, "", 0],
        errors=tuple((predicted / seconds - 1).tolist()),
    )


def _amounts(one: Measured) -> dict[Key, float]:
    """10^12 operations, 10^9 bytes, and counts."""
    found: dict[Key, float] = {(CALL, "", 0): 1.0}
    for run in passes(one.work.target, one.tokens, 1):
        for product in one.work.products:
            rows = run.count(product.rows)
            key = (PRODUCT, product.scheme, 1 if product.rows is Rows.TEXT else rows)
            if rows:
                found[key] = found.get(key, 0.0) + product_operations(product, run) / _TERA
        for attention in one.work.attentions:
            key = (ATTENTION, "", run.keys)
            found[key] = found.get(key, 0.0) + attention_operations(attention, run) / _TERA
        _add(found, (BETWEEN, "", 0), activation_bytes(one.work, run) / _GIGA)
        _add(found, (STEP, "", 0), float(one.work.steps))
    return found


def _add(found: dict[Key, float], key: Key, amount: float) -> None:
    found[key] = found.get(key, 0.0) + amount


def _smooth_rows(keys: Sequence[Key], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weak equations between neighbouring numbers of rows, and between the schemes of a runtime."""
    largest = rows.max(axis=0)
    found = []
    for place, (kind, scheme, number) in enumerate(keys):
        for other in range(place + 1, len(keys)):
            same_scheme = keys[other][:2] == (kind, scheme) and other == place + 1
            same_rows = kind == PRODUCT and keys[other][0] == PRODUCT and keys[other][2] == number
            if kind not in _SMOOTH or not (same_scheme or same_rows):
                continue
            row = np.zeros(len(keys))
            size = _SMOOTH[kind] * min(largest[place], largest[other])
            row[place], row[other] = size, -size
            found.append(row)
    return np.array(found).reshape(-1, len(keys))


def _capped(rates: Mapping[int, float]) -> dict[int, float]:
    """A time that was lost among the others makes no rate beyond belief."""
    most = _BELIEVED * float(np.median(list(rates.values())))
    return {rows: min(rate, most) for rows, rate in rates.items()}


def _rates(found: Mapping[Key, float]) -> dict[str, dict[int, float]]:
    schemes: dict[str, dict[int, float]] = {}
    for (kind, scheme, rows), time in found.items():
        if kind == PRODUCT:
            schemes.setdefault(scheme, {})[rows] = _rate(time)
    return {scheme: _capped(rates) for scheme, rates in schemes.items()}


def _rate(time: float) -> float:
    # Too small to be seen beside the others
    return 1 / max(time, 1e-6)


def non_negative(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """x >= 0 that makes |matrix · x - target| smallest, one number after the other until nothing moves.

    Coordinate descent for quadratic problems with bounds: Franc, Hlaváč, Navara, Sequential coordinate-wise algorithm
    for the non-negative least squares problem (CAIP 2005).
    """
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    scaled = matrix / scale
    gram, right = scaled.T @ scaled, scaled.T @ target
    x: NDArray[np.float64] = np.zeros(len(right))
    for _ in range(_ROUNDS):
        largest = 0.0
        for place in range(len(x)):
            step = (right[place] - gram[place] @ x) / gram[place, place] if gram[place, place] else 0.0
            new = max(0.0, x[place] + step)
            largest = max(largest, abs(new - x[place]))
            x[place] = new
        if largest < _ENOUGH:
            break
    found: NDArray[np.float64] = x / scale
    return found
