"""A tiny random checkpoint in the released layout: what the tests cut, export and verify."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import mlexport

DEMO_FILES = Path(mlexport.__file__).parent / "data" / "demo"
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PAD, END = SPECIAL[0], SPECIAL[-1]
BYTES = 256
# Not transformers' default: a reader that falls back to a default gives other vectors
ROPE_THETA = 1_000_000.0
MAX_POSITIONS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the model; `rank` None means no U and V."""

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    rank: int | None
    dtype: str


def make_tiny(
    folder: Path,
    *,
    layers: int = 3,
    hidden: int = 64,
    mlp: int = 96,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 32,
    vocabulary: int | None = None,
    append_eos: bool = True,
    rank: int | None = 16,
    sharded: bool = False,
    dtype: str = "bfloat16",
    prefix: str = "",
    seed: int = 0,
    trained: bool = True,
    max_length: int = 64,
) -> Path:
    """Write a random checkpoint that AutoModel and SentenceTransformer load.

    Args:
        folder: made, with its parents, where it does not exist.
        vocabulary: rows of the table. None is the demo tokenizer's 16384; fewer cut the tokenizer
            to its first merges, more leave rows without a token, as Qwen3 has them.
        append_eos: whether tokenizer.json appends the token that is pooled.
        rank: columns of U.pth; None writes neither U.pth nor V.pth.
        sharded: several safetensors files and their index, instead of one file.
        dtype: "bfloat16", "float16" or "float32", of every tensor but the factors (always bfloat16).
        prefix: put before each tensor's name, "" or "model.".
        trained: whether config.json says which cuts were trained.
        max_length: longest text in tokens.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = write_tokenizer(folder, vocabulary, append_eos, max_length)
    shape = {"layers": layers, "hidden": hidden, "mlp": mlp, "heads": heads, "kv_heads": kv_heads}
    sizes = Sizes(**shape, head_dim=head_dim, vocabulary=vocabulary or known, rank=rank, dtype=dtype)
    config = make_config(sizes, known, trained)
    config["architectures"] = ["Qwen3ForCausalLM" if prefix else "Qwen3Model"]
    write_json(folder / "config.json", config)
    write_sentence_transformers(folder, hidden, max_length)
    write_weights(folder, sizes, seed, prefix, sharded)
    return folder


def write_json(path: Path, value: object) -> None:
    """The value as a JSON file; its folder is made."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tokenizer(folder: Path, vocabulary: int | None, append_eos: bool, max_length: int) -> int:
    """The demo's tokenizer files, perhaps with fewer merges or without EOS; the number of its tokens."""
    text = (DEMO_FILES / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = json.loads(text)
    known = len(tokenizer["model"]["vocab"]) + len(SPECIAL)
    changed = not append_eos
    if vocabulary is not None and vocabulary < known:
        known, changed = vocabulary, True
        cut_tokenizer(tokenizer, known)
    if not append_eos:
        # What Qwen's own tokenizers have there
        tokenizer["post_processor"] = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": False,
            "use_regex": False,
        }
    if changed:
        write_json(folder / "tokenizer.json", tokenizer)
    else:
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    config = json.loads((DEMO_FILES / "tokenizer_config.json").read_text(encoding="utf-8"))
    decoder = config["added_tokens_decoder"].values()
    config["added_tokens_decoder"] = {str(known - len(SPECIAL) + i): token for i, token in enumerate(decoder)}
    write_json(folder / "tokenizer_config.json", config | {"model_max_length": max_length})
    shutil.copyfile(DEMO_FILES / "special_tokens_map.json", folder / "special_tokens_map.json")
    return known


def cut_tokenizer(tokenizer: dict[str, Any], size: int) -> None:
    """Keep the first merges, so that `size` tokens are left, the special ones last."""
    plain = size - len(SPECIAL)
    assert plain >= BYTES, f"a byte-level tokenizer has at least {BYTES + len(SPECIAL)} tokens"
    model = tokenizer["model"]
    model["vocab"] = {token: i for token, i in model["vocab"].items() if i < plain}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) in model["vocab"]]
    for i, token in enumerate(tokenizer["added_tokens"]):
        token["id"] = plain + i
    tokenizer["post_processor"]["special_tokens"][END]["ids"] = [size - 1]


def make_config(sizes: Sizes, known: int, trained: bool) -> dict[str, object]:
    """config.json in the spellings of transformers 4 and 5."""
    config: dict[str, object] = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "dtype": sizes.dtype,
        "eos_token_id": known - 1,
        "head_dim": sizes.head_dim,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "initializer_range": 0.02,
        "intermediate_size": sizes.mlp,
        "layer_types": ["full_attention"] * sizes.layers,
        "max_position_embeddings": MAX_POSITIONS,
        "max_window_layers": sizes.layers,
        "model_type": "qwen3",
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "num_key_value_heads": sizes.kv_heads,
        "pad_token_id": known - len(SPECIAL),
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": ROPE_THETA, "rope_type": "default"},
        "rope_scaling": None,
        "rope_theta": ROPE_THETA,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": sizes.dtype,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": sizes.vocabulary,
    }
    if trained:
        config["mlexport_trained"] = {
            "layers": sorted({n for n in (1, 2, sizes.layers) if n <= sizes.layers}),
            "ranks": [] if sizes.rank is None else [r for r in (8, 16) if r <= sizes.rank],
            "dims": [d for d in (8, 16, 32, 64) if d <= sizes.hidden],
        }
    return config


def write_sentence_transformers(folder: Path, hidden: int, max_length: int) -> None:
    """modules.json and what its modules read."""
    for name in ("modules.json", "1_Pooling/config.json", "2_Normalize/config.json"):
        value = json.loads((DEMO_FILES / name).read_text(encoding="utf-8"))
        if "word_embedding_dimension" in value:
            value["word_embedding_dimension"] = hidden
        write_json(folder / name, value)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "prompts": {"query": "Query: ", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )


def random_layers(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    """Every tensor but the table, float32, by its name in Qwen3Model."""

    def matrix(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator) / columns**0.5

    def norm(size: int, mean: float = 1.0) -> Tensor:
        return mean + 0.2 * torch.randn(size, generator=generator)

    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    tensors = {}
    for i in range(sizes.layers):
        layer = {
            "input_layernorm": norm(sizes.hidden),
            "self_attn.q_proj": matrix(queries, sizes.hidden),
            "self_attn.k_proj": matrix(keys, sizes.hidden),
            "self_attn.v_proj": matrix(keys, sizes.hidden),
            "self_attn.o_proj": matrix(sizes.hidden, queries),
            # Above 1: attention that picks a few tokens, else every long text gets the same average
            "self_attn.q_norm": norm(sizes.head_dim, 1.5),
            "self_attn.k_norm": norm(sizes.head_dim, 1.5),
            "post_attention_layernorm": norm(sizes.hidden),
            "mlp.gate_proj": matrix(sizes.mlp, sizes.hidden),
            "mlp.up_proj": matrix(sizes.mlp, sizes.hidden),
            "mlp.down_proj": matrix(sizes.hidden, sizes.mlp),
        }
        tensors |= {f"layers.{i}.{name}.weight": value for name, value in layer.items()}
    return tensors | {"norm.weight": norm(sizes.hidden)}


def write_weights(folder: Path, sizes: Sizes, seed: int, prefix: str, sharded: bool) -> None:
    """The safetensors file or files; U.pth and V.pth, whose product rounded to bfloat16 is the table."""
    generator = torch.Generator().manual_seed(seed)
    # The pooled token is the same in every text: a small table lets the layers' part tell texts apart
    scale = 0.3
    if sizes.rank is None:
        table = scale * torch.randn(sizes.vocabulary, sizes.hidden, generator=generator)
    else:
        # Ordered like singular values, so that the first ranks carry the most
        strength = torch.linspace(1.5, 0.5, sizes.rank) * scale / sizes.rank**0.5
        U = (torch.randn(sizes.vocabulary, sizes.rank, generator=generator) * strength).bfloat16()
        V = torch.randn(sizes.rank, sizes.hidden, generator=generator).bfloat16()
        torch.save(U, folder / "U.pth")
        torch.save(V, folder / "V.pth")
        table = (U.float() @ V.float()).bfloat16()
    dtype = getattr(torch, sizes.dtype)
    named = {"embed_tokens.weight": table} | random_layers(sizes, generator)
    tensors = {prefix + name: value.to(dtype).contiguous() for name, value in named.items()}
    names = list(tensors)
    # One layer's tensors lie in two files, as they do in large checkpoints
    shards = [names[0::2], names[1::2]] if sharded else [names]
    where: dict[str, str] = {}
    for number, members in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors" if sharded else "model.safetensors"
        save_file({name: tensors[name] for name in members}, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(members, file)
    if sharded:
        size = sum(value.nbytes for value in tensors.values())
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": where})
