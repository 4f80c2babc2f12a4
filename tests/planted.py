"""A copy of the demo with planted outliers: the same function, and weights that spoil plain four bits."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.tiny import DEMO_FILES

FACTOR = 32.0
# One in each block of 32
COLUMNS = tuple(range(5, 256, 32))
_READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


def make_planted(folder: Path, layers: int = 12) -> Path:
    """The demo with some columns 32 times larger, and the norms before them 32 times smaller.

    A power of two: products are the same to the last bit.
    """
    shutil.copytree(DEMO_FILES, folder)
    tensors = load_file(folder / "model.safetensors")
    for layer in range(layers):
        for norm, readers in _READERS.items():
            tensors[f"layers.{layer}.{norm}.weight"][list(COLUMNS)] /= FACTOR
            for name in readers:
                tensors[f"layers.{layer}.{name}.weight"][:, list(COLUMNS)] *= FACTOR
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
