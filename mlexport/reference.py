"""The reference: transformers on the original checkpoint, cut by hand. Runs as a process of its own.

    python -m mlexport.reference REQUEST.json VECTORS.npz

It shares no code with the exporters: the checkpoint is opened by transformers, the
table is folded (or its SVD taken) by torch, text is tokenised by AutoTokenizer, and
each text runs alone, unpadded, in float32.

REQUEST holds: folder, layers, rank (null: the stored table), svd (the rank is cut by
SVD), dim, end_id, max_length, texts, stream (true: one layer in memory at a time).
VECTORS holds: vectors float32 [texts, dim] normalised, ids int64 (all texts in a row), lengths
int64 [texts], largest (of the residual, over all texts and layers), versions.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from torch import Tensor
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm, Qwen3RotaryEmbedding


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to compute; see the module's text."""

    folder: str
    layers: int
    rank: int | None
    svd: bool
    dim: int
    end_id: int
    max_length: int
    texts: Sequence[str]
    stream: bool


def tokenise(request: Request) -> list[list[int]]:
    """Token ids by AutoTokenizer; the last kept one is `end_id`, as in the training code."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(request.folder, local_files_only=True)
    rows: list[list[int]] = []
    for text in request.texts:
        ids = tokenizer(text, truncation=False, verbose=False)["input_ids"]
        body = ids[:-1] if ids and ids[-1] == request.end_id else ids
        rows.append([*body[: request.max_length - 1], request.end_id])
    return rows


def cut_config(request: Request) -> transformers.PretrainedConfig:
    """The checkpoint's configuration with fewer layers."""
    config = transformers.AutoConfig.from_pretrained(request.folder, local_files_only=True)
    config.num_hidden_layers = request.layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: request.layers]
    return config


def replaced_table(request: Request, stored: Tensor) -> Tensor:
    """The table of a rank cut, float32 [vocabulary, hidden]: U[:, :r] @ V[:r], or the best rank r of the stored one."""
    if request.rank is None:
        return stored
    if request.svd:
        left, values, right = torch.linalg.svd(stored.float(), full_matrices=False)
        best: Tensor = (left[:, : request.rank] * values[: request.rank]) @ right[: request.rank]
        return best
    u, v = (torch.load(Path(request.folder) / f"{name}.pth", weights_only=True, mmap=True) for name in "UV")
    table: Tensor = u[:, : request.rank].float() @ v[: request.rank].float()
    return table


class Largest:
    """The largest |number| of what decoder layers put out: the residual, which f16 could not hold past 65,504."""

    def __init__(self) -> None:
        self.value = 0.0

    def see(self, states: Tensor) -> None:
        """Take note of one layer's output."""
        self.value = max(self.value, states.abs().max().item())

    def hook(self, _module: object, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        """The same, as a forward hook."""
        self.see(output[0] if isinstance(output, tuple) else output)


def whole_model(request: Request, rows: list[list[int]], largest: Largest) -> list[Tensor]:
    """Pooled vectors, float32 [hidden] each, through AutoModel with every kept layer in memory."""
    model = transformers.AutoModel.from_pretrained(
        request.folder, config=cut_config(request), dtype=torch.float32, use_safetensors=True, local_files_only=True
    ).eval()
    model.embed_tokens.weight.data = replaced_table(request, model.embed_tokens.weight.data)
    for layer in model.layers:
        layer.register_forward_hook(largest.hook)
    return [model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1] for ids in rows]


class Weights:
    """The checkpoint's tensors by their name in Qwen3Model, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.place: dict[str, tuple[Path, str]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                self.place |= {key.removeprefix("model."): (path, key) for key in file.keys()}  # noqa: SIM118

    def read(self, name: str) -> Tensor:
        """One tensor, float32."""
        path, key = self.place[name]
        with safe_open(path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(key)
        return tensor.float()

    def into(self, module: torch.nn.Module, prefix: str) -> torch.nn.Module:
        """Fill a module built on the meta device."""
        names = list(module.state_dict())
        module.load_state_dict({name: self.read(prefix + name) for name in names}, assign=True)
        return module.eval()


def layer_by_layer(request: Request, rows: list[list[int]], largest: Largest) -> list[Tensor]:
    """Pooled vectors, float32 [hidden] each, through transformers' own layers, one of them in memory at a time."""
    config = cut_config(request)
    config._attn_implementation = "sdpa"
    weights = Weights(Path(request.folder))
    table = replaced_table(request, weights.read("embed_tokens.weight"))
    states = [table[torch.tensor([ids])] for ids in rows]
    del table
    rotary = Qwen3RotaryEmbedding(config)
    for number in range(request.layers):
        with torch.device("meta"):
            empty = Qwen3DecoderLayer(config, number)
        layer = weights.into(empty, f"layers.{number}.")
        for i, state in enumerate(states):
            positions = torch.arange(state.shape[1])[None]
            out = layer(state, position_embeddings=rotary(state, positions), position_ids=positions)
            states[i] = out[0] if isinstance(out, tuple) else out
            largest.see(states[i])
    with torch.device("meta"):
        empty = Qwen3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
    norm = weights.into(empty, "norm.")
    return [norm(state[0, -1]) for state in states]


def main() -> None:
    request_path, out = sys.argv[1:]
    request = Request(**json.loads(Path(request_path).read_text(encoding="utf-8")))
    rows = tokenise(request)
    largest = Largest()
    with torch.no_grad():
        pooled = (layer_by_layer if request.stream else whole_model)(request, rows, largest)
        vectors = torch.nn.functional.normalize(torch.stack(pooled)[:, : request.dim], dim=1)
    np.savez(
        out,
        vectors=vectors.numpy(),
        ids=np.concatenate([np.array(ids, dtype=np.int64) for ids in rows]),
        lengths=np.array([len(ids) for ids in rows], dtype=np.int64),
        largest=np.array(largest.value),
        versions=np.array(f"transformers {transformers.__version__}, torch {torch.__version__}"),
    )


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
