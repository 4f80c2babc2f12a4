"""Every matrix of a cut rounded on calibration text, layer by layer.

Two streams of states run through the layers: the checkpoint's, and that of the model as far as it is rounded. Each
matrix is first corrected so that it gives the true product on the inputs it will really get, then rounded. Memory
holds two layers, both streams and the moments of one input; what is rounded goes to the disk at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlexport.calibrate.layers import Batch, Layers, moments_of
from mlexport.calibrate.outliers import input_outliers, weight_outliers
from mlexport.calibrate.ranges import layer_ranges
from mlexport.facts import Outlier
from mlexport.model import TABLE, TABLE_LEFT, SubModel
from mlexport.quantize.compensate import corrected, rounded
from mlexport.quantize.error import round_trip
from mlexport.quantize.graph_plan import WITH_ACTIVATIONS
from mlexport.quantize.grids import grid, importance
from mlexport.quantize.sites import SITES, Site
from mlexport.quantize.smoothing import column_factors
from mlexport.spec import Target
from mlexport.tensors import Float32

Float64 = np.ndarray[tuple[int, int], np.dtype[np.float64]]
# How much the token that becomes the vector counts beside the others
POOLED_WEIGHT = 4.0
# In the last layer nothing else does; some of the others keep moments of few texts from being singular
LAST_LAYER_OTHERS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is rounded into what: tensor name -> scheme of the target."""

    target: Target
    schemes: Mapping[str, str]

    @property
    def activations(self) -> bool:
        """Whether inputs and products are whole numbers too, whose ranges are wanted."""
        return WITH_ACTIVATIONS in self.schemes.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What rounding saw.

    Attributes:
        outliers: what lies far out in weights and inputs.
        ranges: see `layer_ranges`; empty where activations are not quantised.
    """

    outliers: list[Outlier]
    ranges: dict[str, Mapping[str, float]]


def token_rows(sub: SubModel, ids: Sequence[int], plan: Plan | None) -> Float32:
    """Rows of the token table, float32 [ids, hidden]; as the plan's scheme stores them, where there is one."""
    name = TABLE if plan is None or TABLE in plan.schemes or sub.factors is None else TABLE_LEFT
    source = sub.tensors[TABLE] if name == TABLE or sub.factors is None else sub.factors[0]
    rows = np.concatenate([source.read_rows(number, number + 1) for number in ids])
    if plan is not None:
        rows = round_trip(plan.target, plan.schemes[name])(rows)
    if name == TABLE_LEFT and sub.factors is not None:
        rows = rows @ sub.factors[1].read()
    return rows


def first_states(sub: SubModel, batches: Sequence[Batch], plan: Plan | None) -> list[Tensor]:
    """What the first layer reads, float32 [texts, tokens, hidden] a batch."""
    known = sorted({number for batch in batches for number in batch.ids.flatten().tolist()})
    rows = torch.from_numpy(token_rows(sub, known, plan))
    return [rows[torch.searchsorted(torch.tensor(known), batch.ids)] for batch in batches]


def weights_of(batch: Batch, *, last: bool, keys: bool) -> Tensor:
    """How much each token counts, float32 [texts, tokens]: padding nothing, the pooled one most.

    Args:
        last: in the last layer, where
        keys: only keys and values of the other tokens are still used.
    """
    real, pooled = batch.real.float(), batch.pooled.float()
    if last and not keys:
        return LAST_LAYER_OTHERS * real + (1 - LAST_LAYER_OTHERS) * pooled
    return real + (POOLED_WEIGHT - 1) * pooled


def weighted_rows(states: Tensor, weights: Tensor) -> Tensor:
    """Inputs as rows, float32 [rows, columns], times the roots of their weights; tokens that count nothing left out."""
    kept = weights > 0
    found: Tensor = states[kept] * weights[kept].sqrt()[:, None]
    return found


def round_layers(
    layers: Layers, batches: Sequence[Batch], plan: Plan, out: Path, advance: Callable[[str], None]
) -> Found:
    """Round every matrix whose scheme has a grid; `out` gets one `NAME.npy` each, as `Grid.pack` gives it,
    and one for each norm that took up sizes of columns.

    Args:
        advance: told the name of each matrix that is done.
    """
    outliers: list[Outlier | None] = []
    ranges: dict[str, Mapping[str, float]] = {}
    true, seen = (first_states(layers.sub, batches, which) for which in (None, plan))
    last = layers.sub.config.layers - 1
    for number in range(last + 1):
        exact = layers.layer(number)
        changed: dict[str, Float32] = {}
        wanted = [layers.inputs(exact, state, SITES) for state in true]
        for place, site in enumerate(SITES):
            partial = layers.layer(number, changed)
            found = [layers.inputs(partial, state, SITES[: place + 1])[-1] for state in seen]
            weights = [weights_of(batch, last=number == last, keys=place == 0) for batch in batches]
            moments, cross = _moments(found, [w[place] for w in wanted], weights)
            outliers.append(input_outliers(site.names(number)[0], np.diag(moments)))
            factors, norm = _smoothed(layers, site, number, plan, moments)
            values, packed = _round_site(layers, site.names(number), plan, (moments, cross), factors)
            changed |= values | norm
            for name, content in {**packed, **norm}.items():
                np.save(out / f"{name}.npy", content)
            for name in site.names(number):
                outliers.append(weight_outliers(name, layers.sub.tensors[name].read()))
                advance(name)
        partial = layers.layer(number, changed)
        if plan.activations:
            ranges |= layer_ranges(layers, partial, number, seen, batches)
        if number < last:
            true = [layers.run(exact, state) for state in true]
            seen = [layers.run(partial, state) for state in seen]
    return Found(outliers=[outlier for outlier in outliers if outlier is not None], ranges=ranges)


def _moments(found: list[Tensor], wanted: list[Tensor], weights: list[Tensor]) -> tuple[Float64, Float64]:
    """Σ x̂ x̂ᵀ and Σ x x̂ᵀ, of the inputs that are and those that should be."""
    rows = [weighted_rows(state, w) for state, w in zip(found, weights, strict=True)]
    true = [weighted_rows(state, w) for state, w in zip(wanted, weights, strict=True)]
    return moments_of(zip(rows, rows, strict=True)), moments_of(zip(true, rows, strict=True))


def _smoothed(
    layers: Layers, site: Site, number: int, plan: Plan, moments: Float64
) -> tuple[Float32, dict[str, Float32]]:
    """Factors of the columns, float32 [columns], and the norm that takes them up; ones where that does not pay."""
    names = site.names(number)
    tensors = layers.sub.tensors
    if site.norm is not None:
        schemes = [plan.schemes[name] for name in names]
        factors = column_factors(plan.target, schemes, [tensors[name].read() for name in names], moments)
        if factors is not None:
            norm = f"layers.{number}.{site.norm}.weight"
            return factors, {norm: tensors[norm].read() * factors}
    return np.ones(len(moments), dtype=np.float32), {}


def _round_site(
    layers: Layers, names: Sequence[str], plan: Plan, moments: tuple[Float64, Float64], factors: Float32
) -> tuple[dict[str, Float32], dict[str, Float32 | NDArray[np.uint8]]]:
    """The matrices of a site as the file will have them, and what the exporter is given for them."""
    values: dict[str, Float32] = {}
    packed: dict[str, Float32 | NDArray[np.uint8]] = {}
    found, cross = (one * np.outer(factors, factors) for one in moments)
    for name in names:
        rows = layers.sub.tensors[name].read() / factors
        target = corrected(rows, found, cross)
        made = grid(plan.target, plan.schemes[name], target, importance(found))
        if made is None:
            values[name] = round_trip(plan.target, plan.schemes[name])(rows)
            # Where a norm took factors up, the exporter must have the matrix without them
            packed |= {name: rows} if (factors != 1).any() else {}
            continue
        codes = rounded(target, made, found)
        values[name], packed[name] = made.values(codes), made.pack(codes)
    return values, packed
