"""What lies between the ends of a matrix's input and product on calibration text: for activations in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from mlexport.calibrate.layers import Batch, Layers
from mlexport.quantize.sites import SITES

# Inputs of these are the pooled token's alone in the last layer; keys and values are of every token
_FIRST_SITE = SITES[0].matrices


@dataclass(slots=True, kw_only=True)
class Seen:
    """Ends of what was seen so far, zero included, and the sizes of its rows.

    Attributes:
        rows: root mean square of each row.
    """

    low: float = 0.0
    high: float = 0.0
    rows: list[Tensor] = field(default_factory=list)

    def add(self, numbers: Tensor) -> None:
        """Take in float32 [rows, columns]."""
        self.low, self.high = min(self.low, numbers.min().item()), max(self.high, numbers.max().item())
        self.rows.append(numbers.square().mean(dim=1).sqrt())

    @property
    def typical(self) -> float:
        """Median of the rows' sizes."""
        return torch.cat(self.rows).median().item()


def layer_ranges(
    layers: Layers, layer: Qwen3DecoderLayer, number: int, states: Sequence[Tensor], batches: Sequence[Batch]
) -> Mapping[str, Mapping[str, float]]:
    """By the name of each matrix of a layer: low, high and typical row of its input ("in_…") and product ("out_…").

    Args:
        states: what the layer reads, float32 [texts, tokens, hidden] a batch.
    """
    last = number == layers.sub.config.layers - 1
    taken: dict[str, Seen] = {}
    given: dict[str, Seen] = {}
    for state, batch in zip(states, batches, strict=True):
        _run(layers, layer, state, batch, (taken, given), last=last)
    return {
        f"layers.{number}.{matrix}.weight": {
            f"{side}_{key}": getattr(found[matrix], key)
            for side, found in (("in", taken), ("out", given))
            for key in ("low", "high", "typical")
        }
        for matrix in taken
    }


def _run(
    layers: Layers,
    layer: Qwen3DecoderLayer,
    state: Tensor,
    batch: Batch,
    seen: tuple[dict[str, Seen], dict[str, Seen]],
    *,
    last: bool,
) -> None:
    hooks = []
    for matrix in (name for site in SITES for name in site.matrices):
        rows = batch.pooled if last and matrix not in _FIRST_SITE else batch.real

        def look(
            _module: torch.nn.Module,
            inputs: tuple[Tensor, ...],
            output: Tensor,
            *,
            name: str = matrix,
            rows: Tensor = rows,
        ) -> None:
            for found, numbers in zip(seen, (inputs[0], output), strict=True):
                found.setdefault(name, Seen()).add(numbers[rows])

        hooks.append(layer.get_submodule(matrix).register_forward_hook(look))
    try:
        layers.run(layer, state)
    finally:
        for hook in hooks:
            hook.remove()
