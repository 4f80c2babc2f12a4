"""Rounding and mixing against the true optimum: exhaustive search, least squares, an integer program."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import lstsq
from scipy.optimize import LinearConstraint, milp

from mlexport.artifact import TensorPlan
from mlexport.errors import CalibrationError
from mlexport.quantize.compensate import DAMPING, corrected, damped, product_error, rounded
from mlexport.quantize.grids import grid, importance
from mlexport.quantize.mixed import Option, Problem, best_within, smallest_within
from mlexport.quantize.smoothing import column_factors
from mlexport.spec import Target

RNG = np.random.default_rng(3)


def inputs(count: int, columns: int) -> NDArray[np.float64]:
    """Correlated, of unlike sizes."""
    mixing = RNG.standard_normal((columns, columns)) + 2
    return RNG.standard_normal((count, columns)) @ mixing * np.exp(RNG.standard_normal(columns))


def test_rounding_comes_near_the_best_of_all_codes() -> None:
    found = best = nearest = 0.0
    for case in range(20):
        x = inputs(50, 5)
        h = x.T @ x
        rows = np.random.default_rng(case).standard_normal((1, 5)).astype(np.float32)
        made = grid(Target.ONNX, "int4_b32", rows, importance(h))
        assert made is not None
        levels = zip(made.fixed[0], made.nearest(rows)[0], strict=True)
        choices = [[code] if code >= 0 else range(max(0, near - 2), min(16, near + 3)) for code, near in levels]
        every = [np.array([codes], dtype=np.int16) for codes in product(*choices)]
        best += min(product_error(rows - made.values(codes), damped(h)) for codes in every)
        found += product_error(rows - made.values(rounded(rows, made, h)), damped(h))
        nearest += product_error(rows - made.values(made.nearest(rows)), damped(h))
    assert best <= found <= 1.25 * best
    assert found < nearest / 3


CASES = ("gguf q4_k", "gguf iq4_xs", "gguf q6_k", "onnx int4_b32", "openvino int4_sym", "onnx int8")


@pytest.mark.parametrize("case", CASES)
def test_products_lose_less_than_half_of_what_the_nearest_levels_lose(case: str) -> None:
    target, scheme = case.split()
    x, rows = inputs(1000, 256), RNG.standard_normal((32, 256)).astype(np.float32)
    h = x.T @ x
    made = grid(Target(target), scheme, rows, importance(h))
    assert made is not None
    nearest = product_error(rows - made.values(made.nearest(rows)), h)
    assert product_error(rows - made.values(rounded(rows, made, h)), h) < nearest / 2


def test_the_corrected_matrix_is_the_least_squares_one() -> None:
    true, seen = inputs(200, 8), inputs(200, 8)
    rows = RNG.standard_normal((3, 8)).astype(np.float32)
    h = seen.T @ seen
    weight = np.sqrt(DAMPING * np.diag(h).mean())
    # |V x̂ - W x|² and, as further equations, weight² |V - W|²
    left = np.concatenate([seen, weight * np.eye(8)])
    right = np.concatenate([true @ rows.T, weight * rows.T])
    expected = lstsq(left, right)[0].T
    np.testing.assert_allclose(corrected(rows, h, true.T @ seen), expected, rtol=1e-4, atol=1e-5)


def test_large_columns_are_found_and_normal_ones_left_alone() -> None:
    x, rows = RNG.standard_normal((500, 64)), RNG.standard_normal((16, 64)).astype(np.float32)
    assert column_factors(Target.ONNX, ["int4_b32"], [rows], x.T @ x) is None
    planted = np.ones(64, dtype=np.float32)
    planted[[5, 40]] = 32
    small = x / planted
    factors = column_factors(Target.ONNX, ["int4_b32"], [rows * planted], small.T @ small)
    assert factors is not None
    assert (np.log2(factors) == np.rint(np.log2(factors))).all()
    assert (factors[[5, 40]] >= 8 * np.median(factors)).all()


def problem_of(seed: int) -> Problem:
    generator = np.random.default_rng(seed)
    units = []
    for unit in range(8):
        sizes = np.sort(generator.choice(np.arange(100, 2000), 4, replace=False))
        rates = np.sort(generator.random(3))[::-1]
        losses = np.concatenate([np.cumsum((rates * np.diff(sizes))[::-1])[::-1], [0.0]]) * 1e-6
        units.append(tuple(_option(f"t{unit}", int(s), float(v)) for s, v in zip(sizes, losses, strict=True)))
    return Problem(fixed=(), units=tuple(units), order=tuple(f"t{unit}" for unit in range(8)))


def _option(name: str, size: int, loss: float) -> Option:
    row = TensorPlan(name=name, shape=(1, 1), scheme=str(size), bytes=size, reason="test")
    return Option(rows=(row,), bytes=size, loss=loss)


@pytest.mark.parametrize("seed", range(4))
def test_the_mixture_is_within_one_step_of_the_integer_programs(seed: int) -> None:
    found = problem_of(seed)
    options = [option for unit in found.units for option in unit]
    sizes, losses = np.array([o.bytes for o in options]), np.array([o.loss for o in options])
    allowed = sum(unit[0].loss for unit in found.units) / 3
    one_each = np.kron(np.eye(8), np.ones(4))
    exact = milp(
        sizes, integrality=np.ones(32), bounds=(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(losses[None], 0, allowed)],
    )  # fmt: skip
    ours = smallest_within(found, allowed)
    assert ours is not None
    assert ours.loss <= allowed
    steps = [after.bytes - before.bytes for unit in found.units for before, after in pairwise(unit)]
    assert exact.fun <= ours.bytes <= exact.fun + max(steps)


def test_a_size_is_kept_and_what_cannot_be_met_is_said() -> None:
    found = problem_of(0)
    least = sum(unit[0].bytes for unit in found.units)
    choice = best_within(found, least + 2000)
    assert least < choice.bytes <= least + 2000
    assert smallest_within(found, -1.0) is None
    with pytest.raises(CalibrationError, match=rf"the smallest mixture takes {least:,} bytes of tensors"):
        best_within(found, least - 1)
