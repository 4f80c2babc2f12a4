"""A checkpoint with random weights, made on the spot without torch: what a machine is calibrated on beside the demo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlexport.hub import DEMO, resolve
from mlexport.model import FINAL_NORM, LAYER_TENSORS, TABLE

# The released 0.6B's sizes but for layers and vocabulary: a layer's matrices fit a large cache in int8, not in f32
SIZES: Mapping[str, int] = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": 2,
    "max_window_layers": 2,
}
_WEIGHTS = ("model.safetensors", "U.pth", "V.pth", "config.json", "evaluation.json", "README.md")
_SEED = 0


def write_probe(folder: Path) -> Path:
    """Write the checkpoint: the demo's tokenizer, matrices that keep the size of what they multiply.

    Returns:
        The folder, which is made.
    """
    from safetensors.numpy import save_file  # noqa: PLC0415

    demo = resolve(DEMO).folder
    shutil.copytree(demo, folder, ignore=shutil.ignore_patterns(*_WEIGHTS))
    config = json.loads((demo / "config.json").read_text(encoding="utf-8"))
    layers = SIZES["num_hidden_layers"]
    config |= SIZES
    config |= {"dtype": "float16", "torch_dtype": "float16", "layer_types": ["full_attention"] * layers}
    config.pop("mlexport_trained", None)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    random = np.random.default_rng(_SEED)
    tensors = {
        name: random.standard_normal(shape, dtype=np.float32).astype(np.float16) * np.float16(shape[-1] ** -0.5)
        if len(shape) > 1
        else np.ones(shape, dtype=np.float16)
        for name, shape in _shapes(int(config["vocab_size"])).items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    hidden, mlp, width = SIZES["hidden_size"], SIZES["intermediate_size"], SIZES["head_dim"]
    queries, keys = SIZES["num_attention_heads"] * width, SIZES["num_key_value_heads"] * width
    parts: dict[str, tuple[int, ...]] = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "self_attn.q_norm": (width,),
        "self_attn.k_norm": (width,),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (mlp, hidden),
        "mlp.up_proj": (mlp, hidden),
        "mlp.down_proj": (hidden, mlp),
    }
    found: dict[str, tuple[int, ...]] = {TABLE: (vocabulary, hidden)}
    for layer in range(SIZES["num_hidden_layers"]):
        for name in LAYER_TENSORS:
            part = name.removeprefix("layers.{}.").removesuffix(".weight")
            found[name.format(layer)] = parts[part]
    return found | {FINAL_NORM: (hidden,)}
