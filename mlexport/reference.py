"""The reference: transformers on the original checkpoint, cut by hand. Runs as a process of its own.

    python -m mlexport.reference REQUEST.json VECTORS.npz

It shares no code with the exporters: the checkpoint is opened by transformers, the
table is folded (or its SVD taken) by torch, text is tokenised by AutoTokenizer, and
each text runs alone, unpadded, in float32.

REQUEST holds: folder, layers, rank (null: the stored table), svd (the rank is cut by
SVD), dim, end_id, max_length, texts, stream (true: one layer in memory at a time); for a
vocabulary slice also kept (runs of the original ids that stay) and sliced (folder with the
tokenizer that is left), else null.
VECTORS holds: vectors float32 [texts, dim] normalised, ids int64 (all texts in a row), lengths
int64 [texts], changed int64 (texts that a vocabulary slice splits otherwise), changed_cosines
float32 (of their vectors to those of the original split), largest (of the residual, over all
texts and layers), versions.

With a vocabulary slice the model stays the original one. A text whose original tokens all stay
has its original ids, and is given out under their new ones. Any other is split by the tokenizer
that is left, and its ids are mapped back; it must decode to the same text.
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
    kept: Sequence[tuple[int, int]] | None = None
    sliced: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Texts as ids.

    Attributes:
        rows: of the original vocabulary, what the model gets.
        given: as the artifact should have them: under their new ids, after a vocabulary slice.
        before: the original ids of each text, by its number, whose split a vocabulary slice changed.
    """

    rows: list[list[int]]
    given: list[list[int]]
    before: dict[int, list[int]]


def tokenise(folder: str, texts: Sequence[str], end_id: int) -> list[list[int]]:
    """Token ids by AutoTokenizer, without the end token."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = [tokenizer(text, truncation=False, verbose=False)["input_ids"] for text in texts]
    return [ids[:-1] if ids and ids[-1] == end_id else ids for ids in found]


def split_texts(request: Request) -> Split:
    """The texts' ids; the last kept one is `end_id`, as in the training code."""

    def ended(ids: list[int], end_id: int) -> list[int]:
        return [*ids[: request.max_length - 1], end_id]

    whole = tokenise(request.folder, request.texts, request.end_id)
    rows = [ended(ids, request.end_id) for ids in whole]
    if request.kept is None or request.sliced is None:
        return Split(rows=rows, given=rows, before={})
    old_ids = [old for run in request.kept for old in range(*run)]
    new_ids = {old: new for new, old in enumerate(old_ids)}
    # Of the whole text: a word across the limit may be split otherwise because of what lies behind it
    others = [i for i, ids in enumerate(whole) if not new_ids.keys() >= set(ids)]
    left = tokenise(request.sliced, [request.texts[i] for i in others], new_ids[request.end_id])
    original = transformers.AutoTokenizer.from_pretrained(request.folder, local_files_only=True)
    before = {}
    for i, ids in zip(others, left, strict=True):
        mapped = [old_ids[new] for new in ids]
        if original.decode(mapped) != original.decode(whole[i]):
            raise SystemExit(f"the vocabulary slice loses a part of the text {request.texts[i][:80]!r}")
        if ended(mapped, request.end_id) != rows[i]:
            before[i], rows[i] = rows[i], ended(mapped, request.end_id)
    return Split(rows=rows, given=[[new_ids[old] for old in ids] for ids in rows], before=before)


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
    split = split_texts(request)
    largest = Largest()
    with torch.no_grad():
        rows = [*split.rows, *split.before.values()]
        pooled = (layer_by_layer if request.stream else whole_model)(request, rows, largest)
        vectors = torch.nn.functional.normalize(torch.stack(pooled)[:, : request.dim], dim=1).numpy()
    vectors, before = np.split(vectors, [len(split.rows)])
    changed = np.array(list(split.before), dtype=np.int64)
    np.savez(
        out,
        vectors=vectors,
        ids=np.concatenate([np.array(ids, dtype=np.int64) for ids in split.given]),
        lengths=np.array([len(ids) for ids in split.given], dtype=np.int64),
        changed=changed,
        changed_cosines=(vectors[changed] * before).sum(axis=1),
        largest=np.array(largest.value),
        versions=np.array(f"transformers {transformers.__version__}, torch {torch.__version__}"),
    )


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
