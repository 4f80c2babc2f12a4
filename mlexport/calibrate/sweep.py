"""What each tensor costs at each precision: only that tensor is rounded, and the final vectors are compared.

The model runs from the rounded layer to its end, with all kept layers in memory as float32. Each scheme is rounded as
an artifact would be: by the format's kernel, on the moments of the true inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from mlexport.calibrate.layers import Batch, Layers, moments_of
from mlexport.calibrate.rounding import Plan, first_states, weighted_rows, weights_of
from mlexport.model import FINAL_NORM
from mlexport.quantize.compensate import rounded
from mlexport.quantize.error import round_trip
from mlexport.quantize.grids import grid, importance
from mlexport.quantize.sites import SITES
from mlexport.spec import Target

Float64 = np.ndarray[tuple[int, int], np.dtype[np.float64]]
# The scheme whose products take their inputs in int8 too
_DYNAMIC = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to measure.

    Attributes:
        schemes: matrix name -> schemes to try.
        tables: schemes to try for the looked-up table named `table`.
    """

    target: Target
    schemes: Mapping[str, Sequence[str]]
    table: str
    tables: Sequence[str]


class Sweep:
    """Measures losses: 1 - cosine of the final vectors to the exact ones, mean over texts."""

    def __init__(self, layers: Layers, moments: Sequence[Batch], measured: Sequence[Batch]) -> None:
        self.layers, self.batches, self.measured = layers, moments, measured
        self.modules = [layers.layer(number) for number in range(layers.sub.config.layers)]
        norm = torch.from_numpy(layers.sub.tensors[FINAL_NORM].read())
        self.norm = norm[: layers.sub.spec.dim]

    def run(self, question: Question, advance: Callable[[str], None]) -> dict[str, dict[str, float]]:
        """Tensor name -> scheme -> loss."""
        states = first_states(self.layers.sub, self.measured, None)
        self.exact = self._vectors(states, 0)
        found = {question.table: self._tables(question)}
        inputs = first_states(self.layers.sub, self.batches, None)
        for number, module in enumerate(self.modules):
            last = number == len(self.modules) - 1
            seen = [self.layers.inputs(module, state, SITES) for state in inputs]
            for place, site in enumerate(SITES):
                weights = [weights_of(batch, last=last, keys=place == 0) for batch in self.batches]
                rows = [weighted_rows(s[place], w) for s, w in zip(seen, weights, strict=True)]
                moments = moments_of(zip(rows, rows, strict=True))
                for name in site.names(number):
                    found[name] = {
                        scheme: self._loss(name, (question.target, scheme), moments, states)
                        for scheme in question.schemes[name]
                    }
                    advance(name)
            inputs = [self.layers.run(module, state) for state in inputs]
            states = [self.layers.run(module, state) for state in states]
        return found

    def _tables(self, question: Question) -> dict[str, float]:
        losses = {}
        for scheme in question.tables:
            plan = Plan(target=question.target, schemes={question.table: scheme})
            losses[scheme] = self._distance(self._vectors(first_states(self.layers.sub, self.measured, plan), 0))
        return losses

    def _loss(self, name: str, kind: tuple[Target, str], moments: Float64, states: list[Tensor]) -> float:
        rows, (target, scheme) = self.layers.sub.tensors[name].read(), kind
        number = int(name.split(".")[1])
        made = grid(target, scheme, rows, importance(moments))
        values = round_trip(target, scheme)(rows) if made is None else made.values(rounded(rows, made, moments))
        module = self.modules[number].get_submodule(name.removeprefix(f"layers.{number}.").removesuffix(".weight"))
        hook = module.register_forward_pre_hook(_in_int8) if scheme == _DYNAMIC else None
        module.weight.data, exact = torch.from_numpy(values), module.weight.data
        try:
            return self._distance(self._vectors(states, number))
        finally:
            module.weight.data = exact
            if hook is not None:
                hook.remove()

    def _vectors(self, states: list[Tensor], first: int) -> Tensor:
        """Final vectors, float32 [texts, dim], of states that layer `first` reads."""
        modules: Sequence[Qwen3DecoderLayer] = self.modules[first:]
        found = []
        for state, batch in zip(states, self.measured, strict=True):
            out = state
            for module in modules:
                out = self.layers.run(module, out)
            # The final norm divides by one number, which normalising undoes
            found.append(out[batch.pooled][:, : len(self.norm)] * self.norm)
        return torch.nn.functional.normalize(torch.cat(found).double(), dim=1)

    def _distance(self, vectors: Tensor) -> float:
        return max(0.0, 1 - float((vectors * self.exact).sum(dim=1).mean()))


def _in_int8(_module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs in int8 with a scale for each token, restored: what target onnx's int8 products see."""
    [x] = arguments
    largest = x.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    return (torch.round(x / largest * 127) / 127 * largest,)
