"""A Hugging Face folder, with U.pth and V.pth or without, as a Checkpoint of lazily read tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlexport.errors import CheckpointError
from mlexport.hub import resolve
from mlexport.model import FINAL_NORM, LAYER_TENSORS, TABLE, Checkpoint, ModelConfig
from mlexport.pickles import open_pickled_tensor
from mlexport.tensors import LazyTensor
from mlexport.textfacts import read_text_facts
from mlexport.weights import open_weights, read_json

# Written by the demo's training script and into every `hf` cut: cuts that were trained
TRAINED_KEY = "mlexport_trained"
# Depths of ML-Embed's training code; with the whole model
_TRAINED_DEPTHS = (1, 2, 4, 8, 16, 24, 32, 40, 48)
_FIRST_RANK, _FIRST_DIM = 64, 8
# Qwen3-Embedding's card: user-defined dims from 32; its family alone ends a text with this token
_OTHER_END, _OTHER_FIRST_DIM = "<|endoftext|>", 32
# In a causal-LM checkpoint; an encoder has no use for it
_IGNORED = frozenset({"lm_head.weight"})
# config.json key -> the only value (besides absence) that this architecture's graphs compute
_REQUIRED = {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False}


def open_checkpoint(model: str) -> Checkpoint:
    """Open "demo", a folder, or a hub id, and check that it is complete; no tensor is read.

    Raises:
        CheckpointError: unknown or incomplete checkpoint, wrong shapes, another architecture.
    """
    found = resolve(model)
    folder = found.folder
    raw = read_json(folder / "config.json")
    config = read_config(raw, folder / "config.json")
    tensors = _named(open_weights(folder), config, folder)
    factors = _factors(folder, config)
    text = read_text_facts(folder, raw, config.vocabulary)
    trained = _trained(config, factors, text.end_token, folder)
    return Checkpoint(
        name=found.name,
        folder=folder,
        revision=found.revision,
        config=config,
        tensors=tensors,
        factors=factors,
        trained_layers=trained["layers"],
        trained_ranks=trained["ranks"],
        trained_dims=trained["dims"],
        text=text,
    )


def read_config(raw: Mapping[str, Any], path: Path) -> ModelConfig:
    """Sizes and constants of config.json.

    Raises:
        CheckpointError: another architecture, or a value that is missing or cannot be.
    """
    if raw.get("model_type") != "qwen3":
        raise CheckpointError(f"{path}: model_type is {raw.get('model_type')!r}, mlexport reads 'qwen3' embedders")
    for key, value in _REQUIRED.items():
        if raw.get(key, value) not in (value, None):
            raise CheckpointError(f"{path}: {key} is {raw[key]!r}, mlexport supports {value!r}")
    if raw.get("quantization_config") is not None:
        raise CheckpointError(f"{path} is of an already quantised model: start from its unquantised checkpoint")
    if set(raw.get("layer_types") or ["full_attention"]) != {"full_attention"}:
        raise CheckpointError(f"{path}: layer_types has others than 'full_attention', which mlexport does not support")
    sizes = {name: _whole(raw, key, path) for name, key in _SIZES.items()}
    if sizes["heads"] % sizes["kv_heads"] or sizes["head_dim"] % 2:
        raise CheckpointError(f"{path}: heads must be a multiple of KV heads, head_dim even: got {sizes}")
    theta = _rope_theta(raw, path)
    eps = raw.get("rms_norm_eps", 1e-6)
    if not isinstance(eps, float | int) or not 0 < eps < 1:
        raise CheckpointError(f"{path}: rms_norm_eps is {eps!r}, expected a small positive number")
    return ModelConfig(**sizes, rope_theta=theta, eps=float(eps), raw=raw)


_SIZES = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
}


def _whole(raw: Mapping[str, Any], key: str, path: Path) -> int:
    value = raw.get(key)
    if type(value) is not int or value < 1:
        raise CheckpointError(f"{path}: {key} is {value!r}, expected a positive whole number")
    return value


def _rope_theta(raw: Mapping[str, Any], path: Path) -> float:
    # transformers 5 writes rope_parameters, releases before it rope_theta and rope_scaling
    parameters = raw.get("rope_parameters") or {}
    scaling = raw.get("rope_scaling") or {}
    for found in (parameters, scaling):
        kind = found.get("rope_type", found.get("type", "default"))
        if kind != "default":
            raise CheckpointError(f"{path}: rope type {kind!r} is not supported, only 'default'")
    theta = parameters.get("rope_theta", raw.get("rope_theta"))
    if not isinstance(theta, float | int) or isinstance(theta, bool) or theta <= 1:
        raise CheckpointError(f"{path}: rope_theta is {theta!r}, expected a number above 1")
    return float(theta)


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of Qwen3Model, table first, final norm last."""
    query, value = config.heads * config.head_dim, config.kv_heads * config.head_dim
    hidden, mlp = config.hidden, config.mlp
    of_a_layer = (
        (hidden,),
        (query, hidden),
        (value, hidden),
        (value, hidden),
        (hidden, query),
        (config.head_dim,),
        (config.head_dim,),
        (hidden,),
        (mlp, hidden),
        (mlp, hidden),
        (hidden, mlp),
    )
    shapes: dict[str, tuple[int, ...]] = {TABLE: (config.vocabulary, hidden)}
    for layer in range(config.layers):
        shapes |= {name.format(layer): shape for name, shape in zip(LAYER_TENSORS, of_a_layer, strict=True)}
    return shapes | {FINAL_NORM: (hidden,)}


def _named(stored: Mapping[str, LazyTensor], config: ModelConfig, folder: Path) -> dict[str, LazyTensor]:
    """Tensors under their names in Qwen3Model, all there, of the right shape, and nothing unknown among them."""
    found = {name.removeprefix("model."): tensor for name, tensor in stored.items() if name not in _IGNORED}
    expected = expected_shapes(config)
    for name, shape in expected.items():
        if name not in found:
            raise CheckpointError(
                f"{folder} lacks the tensor '{name}' of its {config.layers} layers. Download it again"
            )
        if found[name].shape != shape:
            raise CheckpointError(
                f"{folder}: '{name}' has the shape {list(found[name].shape)}, config.json says {list(shape)}"
            )
    unknown = sorted(set(found) - set(expected))
    if unknown:
        raise CheckpointError(
            f"{folder} holds '{unknown[0]}', which a Qwen3 encoder does not have ({len(unknown)} such)"
        )
    return {name: found[name] for name in expected}


def _factors(folder: Path, config: ModelConfig) -> tuple[LazyTensor, LazyTensor] | None:
    there = [(folder / f"{name}.pth").exists() for name in "UV"]
    if not any(there):
        return None
    if not all(there):
        raise CheckpointError(f"{folder} has {'UV'[there.index(True)]}.pth without the other: both or neither")
    u, v = (open_pickled_tensor(folder / f"{name}.pth", name) for name in "UV")
    rank = u.shape[1]
    if (u.shape[0], *v.shape) != (config.vocabulary, rank, config.hidden):
        raise CheckpointError(
            f"{folder}: U.pth {list(u.shape)} and V.pth {list(v.shape)} do not multiply to the table "
            f"[{config.vocabulary}, {config.hidden}]"
        )
    return u, v


def _trained(
    config: ModelConfig, factors: tuple[LazyTensor, LazyTensor] | None, end_token: str, folder: Path
) -> dict[str, tuple[int, ...]]:
    """Cuts that were trained: as config.json says, else by the rules of ML-Embed's training code."""
    stored = config.raw.get(TRAINED_KEY)
    if stored is not None:
        return _as_stored(stored, folder)
    rank = 0 if factors is None else factors[0].shape[1]
    depths = _TRAINED_DEPTHS if factors else ()
    first_dim = _OTHER_FIRST_DIM if end_token == _OTHER_END else _FIRST_DIM
    return {
        "layers": tuple(sorted({n for n in depths if n < config.layers} | {config.layers})),
        "ranks": tuple(sorted(set(_powers(_FIRST_RANK, rank)) | ({rank} if rank else set()))),
        "dims": tuple(sorted({*_powers(first_dim, config.hidden), config.hidden})),
    }


def _powers(first: int, last: int) -> list[int]:
    return [1 << n for n in range(first.bit_length() - 1, last.bit_length()) if 1 << n <= last]


def _as_stored(stored: object, folder: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    for axis in ("layers", "ranks", "dims"):
        values = stored.get(axis) if isinstance(stored, dict) else None
        if not isinstance(values, list) or not all(type(value) is int and value > 0 for value in values):
            raise CheckpointError(f"{folder / 'config.json'}: {TRAINED_KEY}.{axis} is not a list of whole numbers")
        found[axis] = tuple(sorted(set(values)))
    return found
