"""The reference of `mlexport eval`: transformers on the whole checkpoint, for thousands of texts. A process of its own.

    python -m mlexport.reference_corpus REQUEST.json VECTORS.npz

As `mlexport.reference`, whose functions it uses, it shares no code with the exporters. Texts of the same number of
tokens run together, so that nothing is padded and no mask is needed; float32, every layer, the stored table.

REQUEST holds: folder, end_id, max_length, texts, stream (true: one layer in memory at a time). Standard output gets
a line with the number of texts done after each batch. VECTORS holds: vectors float32 [texts, hidden] normalised.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RMSNorm, Qwen3RotaryEmbedding

from mlexport.reference import Request, Weights, cut_config, split_texts

# A batch larger than the caches gains nothing
BATCH_TOKENS = 2048
# Hidden states of one turn over the layers, where only one layer fits into memory
STATES_BYTES = 2**29

Rows = Sequence[Sequence[int]]
Done = Callable[[int], None]


def same_length(rows: Rows, places: Sequence[int]) -> Iterator[list[int]]:
    """Places of rows in batches of one length each, the short ones first."""
    batch: list[int] = []
    for place in sorted(places, key=lambda i: len(rows[i])):
        length = len(rows[place])
        if batch and (length != len(rows[batch[0]]) or (len(batch) + 1) * length > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def whole_model(request: Request, rows: Rows, pooled: Tensor, done: Done) -> None:
    """Fill `pooled`, float32 [rows, hidden], through AutoModel."""
    model = transformers.AutoModel.from_pretrained(
        request.folder, config=cut_config(request), dtype=torch.float32, use_safetensors=True, local_files_only=True
    ).eval()
    for part in same_length(rows, range(len(rows))):
        ids = torch.tensor([list(rows[i]) for i in part])
        pooled[part] = model(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
        done(len(part))


def turns(rows: Rows, hidden: int) -> Iterator[list[int]]:
    """Places of rows, in order of length, whose hidden states fit into memory together."""
    turn: list[int] = []
    tokens = 0
    for place in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        if turn and (tokens + len(rows[place])) * hidden * 4 > STATES_BYTES:
            yield turn
            turn, tokens = [], 0
        turn.append(place)
        tokens += len(rows[place])
    yield turn


def layer_by_layer(request: Request, rows: Rows, pooled: Tensor, done: Done) -> None:
    """The same through transformers' own layers, one of them in memory at a time."""
    config = cut_config(request)
    config._attn_implementation = "sdpa"
    weights = Weights(Path(request.folder))
    rotary = Qwen3RotaryEmbedding(config)
    with torch.device("meta"):
        norm = Qwen3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
    norm = weights.into(norm, "norm.")
    table = weights.read("embed_tokens.weight")
    for turn in turns(rows, config.hidden_size):
        batches = list(same_length(rows, turn))
        states = [table[torch.tensor([list(rows[i]) for i in part])] for part in batches]
        for number in range(request.layers):
            with torch.device("meta"):
                empty = Qwen3DecoderLayer(config, number)
            layer = weights.into(empty, f"layers.{number}.")
            for i, state in enumerate(states):
                positions = torch.arange(state.shape[1])[None]
                out = layer(state, position_embeddings=rotary(state, positions), position_ids=positions)
                states[i] = out[0] if isinstance(out, tuple) else out
        for part, state in zip(batches, states, strict=True):
            pooled[part] = norm(state[:, -1])
            done(len(part))


def main() -> None:
    request_path, out = sys.argv[1:]
    asked = json.loads(Path(request_path).read_text(encoding="utf-8"))
    config = transformers.AutoConfig.from_pretrained(asked["folder"], local_files_only=True)
    whole = {"layers": config.num_hidden_layers, "rank": None, "svd": False, "dim": config.hidden_size}
    request = Request(**asked, **whole)
    rows = split_texts(request).rows
    pooled = torch.empty(len(rows), config.hidden_size)
    with torch.no_grad():
        run = layer_by_layer if request.stream else whole_model
        run(request, rows, pooled, lambda count: print(count, flush=True))  # noqa: T201
        vectors = torch.nn.functional.normalize(pooled, dim=1)
    np.savez(out, vectors=vectors.numpy())


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
