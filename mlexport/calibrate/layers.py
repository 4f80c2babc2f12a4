"""A cut run through transformers' own layers on calibration text, one layer in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RotaryEmbedding

from mlexport.model import SubModel
from mlexport.quantize.sites import Site
from mlexport.tensors import Float32

# Texts of like length in one batch
BATCH_TEXTS = 32
# Longer texts would cost more than they tell
LONGEST_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Texts padded on the right, where causal attention never looks.

    Attributes:
        ids: int64 [texts, tokens].
        lengths: int64 [texts].
        order: place of each text in the list it came from.
    """

    ids: Tensor
    lengths: Tensor
    order: tuple[int, ...]

    @property
    def real(self) -> Tensor:
        """bool [texts, tokens]: what is no padding."""
        return torch.arange(self.ids.shape[1])[None] < self.lengths[:, None]

    @property
    def pooled(self) -> Tensor:
        """bool [texts, tokens]: each text's last token."""
        return torch.arange(self.ids.shape[1])[None] == self.lengths[:, None] - 1


def batches(rows: Sequence[Sequence[int]], pad_id: int) -> list[Batch]:
    """Token ids of texts in batches of like length."""
    order = sorted(range(len(rows)), key=lambda place: (len(rows[place]), place))
    found = []
    for start in range(0, len(order), BATCH_TEXTS):
        places = order[start : start + BATCH_TEXTS]
        ids = torch.full((len(places), max(len(rows[place]) for place in places)), pad_id)
        for line, place in enumerate(places):
            ids[line, : len(rows[place])] = torch.tensor(rows[place])
        lengths = torch.tensor([len(rows[place]) for place in places])
        found.append(Batch(ids=ids, lengths=lengths, order=tuple(places)))
    return found


class _Seen(Exception):  # noqa: N818
    """Raised where an input was seen: the rest of the layer need not run."""


class Layers:
    """transformers' decoder layers of a cut, built when asked for."""

    def __init__(self, sub: SubModel) -> None:
        self.sub = sub
        self.config = Qwen3Config(**sub.config.raw)
        self.config._attn_implementation = "sdpa"
        self.rotary = Qwen3RotaryEmbedding(self.config)

    def layer(self, number: int, changed: Mapping[str, Float32] | None = None) -> Qwen3DecoderLayer:
        """A layer with the checkpoint's weights, or with others where `changed` has them by name."""
        with torch.device("meta"):
            layer = Qwen3DecoderLayer(self.config, number)
        state = {}
        for key in layer.state_dict():
            name = f"layers.{number}.{key}"
            found = (changed or {}).get(name)
            state[key] = torch.from_numpy(self.sub.tensors[name].read() if found is None else found)
        layer.load_state_dict(state, assign=True)
        return layer.eval().requires_grad_(False)

    def run(self, layer: Qwen3DecoderLayer, state: Tensor) -> Tensor:
        """The layer's output, float32 [texts, tokens, hidden]."""
        positions = torch.arange(state.shape[1])[None]
        out = layer(state, position_embeddings=self.rotary(state, positions), position_ids=positions)
        found: Tensor = out[0] if isinstance(out, tuple) else out
        return found

    def inputs(self, layer: Qwen3DecoderLayer, state: Tensor, sites: Sequence[Site]) -> list[Tensor]:
        """What a layer's matrices read, float32 [texts, tokens, columns] a site; the layer stops at the last one."""
        seen: list[Tensor] = []

        def see(_module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen.append(arguments[0])
            if len(seen) == len(sites):
                raise _Seen

        hooks = [layer.get_submodule(site.matrices[0]).register_forward_pre_hook(see) for site in sites]
        try:
            self.run(layer, state)
        except _Seen:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return seen


def moments_of(parts: Iterator[tuple[Tensor, Tensor]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Σ left rightᵀ over rows, float64 [columns, columns], from float32 [rows, columns] pairs."""
    total: Tensor | None = None
    for left, right in parts:
        product = (left.T @ right).double()
        total = product if total is None else total + product
    assert total is not None
    return total.numpy()
