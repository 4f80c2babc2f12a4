"""Inputs of a layer, and the matrices that read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An input that one matrix or several read.

    Attributes:
        matrices: their names in a layer.
        norm: the norm whose weight the input was multiplied by last; None where that is another product.
    """

    matrices: tuple[str, ...]
    norm: str | None = None

    def names(self, layer: int) -> list[str]:
        """The matrices' names in the model."""
        return [f"layers.{layer}.{matrix}.weight" for matrix in self.matrices]


# In the order a layer computes them
SITES = (
    Site(matrices=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), norm="input_layernorm"),
    Site(matrices=("self_attn.o_proj",)),
    Site(matrices=("mlp.gate_proj", "mlp.up_proj"), norm="post_attention_layernorm"),
    Site(matrices=("mlp.down_proj",)),
)
