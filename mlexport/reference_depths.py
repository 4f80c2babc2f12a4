"""The reference of a sweep: transformers on the checkpoint, every depth of it in one pass. A process of its own.

    python -m mlexport.reference_depths REQUEST.json

As `mlexport.reference`, whose functions it uses, it shares no code with the exporters. What a cut of d layers puts out
is what the d-th layer of a deeper one puts out, so one pass over the deepest gives all of them; the final norm is
applied to each.

REQUEST holds: folder, depths (ascending), end_id, max_length, texts, stream, and cuts: rank, svd, kept, sliced of each
as `mlexport.reference` has them, and out, the file to write. Standard output gets a line for each file that is
complete. A file holds: pooled float32 [depths, texts, hidden], not normalised and of full width; ids, lengths, changed
as `mlexport.reference` has them, before float32 [depths, changed, hidden], what those texts give when split as before;
largest float32 [depths]; versions.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm, Qwen3RotaryEmbedding

from mlexport.reference import Request, Weights, cut_config, replaced_table, split_texts


class Depths:
    """Takes note of what layers put out: of each text the last token's numbers, and the largest of all."""

    def __init__(self, depths: Sequence[int], texts: int, hidden: int) -> None:
        self.depths = list(depths)
        self.states = torch.empty(len(depths), texts, hidden)
        self.largest = torch.zeros(max(depths))

    def see(self, layer: int, text: int, states: Tensor) -> None:
        """One layer's output, [1, tokens, hidden]; `layer` counts from 0."""
        self.largest[layer] = max(self.largest[layer].item(), states.abs().max().item())
        if layer + 1 in self.depths:
            self.states[self.depths.index(layer + 1), text] = states[0, -1]

    def largest_by_depth(self) -> Tensor:
        """The largest |number| between the layers of each depth."""
        return torch.stack([self.largest[:depth].max() for depth in self.depths])


class WholeModel:
    """AutoModel with the deepest cut's layers in memory, for one table after the other."""

    def __init__(self, request: Request) -> None:
        self.model = transformers.AutoModel.from_pretrained(
            request.folder, config=cut_config(request), dtype=torch.float32, use_safetensors=True, local_files_only=True
        ).eval()
        self.stored = self.model.embed_tokens.weight.data

    def run(self, request: Request, rows: Sequence[Sequence[int]], depths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Pooled vectors, float32 [depths, texts, hidden], and the largest residual by depth."""
        self.model.embed_tokens.weight.data = replaced_table(request, self.stored)
        seen = Depths(depths, len(rows), self.stored.shape[1])
        text = 0

        def hook(layer: int, output: Tensor | tuple[Tensor, ...]) -> None:
            seen.see(layer, text, output[0] if isinstance(output, tuple) else output)

        hooks = [
            layer.register_forward_hook(lambda _module, _inputs, output, number=number: hook(number, output))
            for number, layer in enumerate(self.model.layers)
        ]
        for text, ids in enumerate(rows):  # noqa: B007
            self.model(input_ids=torch.tensor([list(ids)]), use_cache=False)
        for one in hooks:
            one.remove()
        return self.model.norm(seen.states), seen.largest_by_depth()


class LayerByLayer:
    """The same through transformers' own layers, one of them in memory at a time."""

    def __init__(self, request: Request) -> None:
        self.config = cut_config(request)
        self.config._attn_implementation = "sdpa"
        self.weights = Weights(Path(request.folder))

    def run(self, request: Request, rows: Sequence[Sequence[int]], depths: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Pooled vectors, float32 [depths, texts, hidden], and the largest residual by depth."""
        table = replaced_table(request, self.weights.read("embed_tokens.weight"))
        states = [table[torch.tensor([list(ids)])] for ids in rows]
        del table
        seen = Depths(depths, len(rows), self.config.hidden_size)
        rotary = Qwen3RotaryEmbedding(self.config)
        for number in range(max(depths)):
            with torch.device("meta"):
                empty = Qwen3DecoderLayer(self.config, number)
            layer = self.weights.into(empty, f"layers.{number}.")
            for text, state in enumerate(states):
                positions = torch.arange(state.shape[1])[None]
                out = layer(state, position_embeddings=rotary(state, positions), position_ids=positions)
                states[text] = out[0] if isinstance(out, tuple) else out
                seen.see(number, text, states[text])
        with torch.device("meta"):
            empty = Qwen3RMSNorm(self.config.hidden_size, eps=self.config.rms_norm_eps)
        return self.weights.into(empty, "norm.")(seen.states), seen.largest_by_depth()


def request_of(asked: Mapping[str, Any], cut: Mapping[str, Any]) -> Request:
    """One cut of the request as `mlexport.reference` would get it, for the deepest."""
    common = {key: asked[key] for key in ("folder", "end_id", "max_length", "texts", "stream")}
    own = {key: cut[key] for key in ("rank", "svd", "kept", "sliced")}
    return Request(**common, **own, layers=max(asked["depths"]), dim=0)


def main() -> None:
    [request_path] = sys.argv[1:]
    asked = json.loads(Path(request_path).read_text(encoding="utf-8"))
    model: WholeModel | LayerByLayer | None = None
    for cut in asked["cuts"]:
        request = request_of(asked, cut)
        model = model or (LayerByLayer if request.stream else WholeModel)(request)
        split = split_texts(request)
        with torch.no_grad():
            pooled, largest = model.run(request, [*split.rows, *split.before.values()], asked["depths"])
        out = Path(cut["out"])
        partial = out.with_name(f".{out.name}.partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                pooled=pooled[:, : len(split.rows)].numpy(),
                before=pooled[:, len(split.rows) :].numpy(),
                ids=np.concatenate([np.array(ids, dtype=np.int64) for ids in split.given]),
                lengths=np.array([len(ids) for ids in split.given], dtype=np.int64),
                changed=np.array(list(split.before), dtype=np.int64),
                largest=largest.numpy(),
                versions=np.array(f"transformers {transformers.__version__}, torch {torch.__version__}"),
            )
        partial.replace(out)
        print(out, flush=True)  # noqa: T201


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
