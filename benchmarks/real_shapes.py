"""A checkpoint with ML-Embed-0.6B's real shapes and random weights: what sizes, times and memory are measured on.

    python benchmarks/real_shapes.py --sources FOLDER --out FOLDER

596 million numbers in bfloat16 (1.2 GB), U.pth and V.pth of rank 512 (0.16 GB), and Qwen2's tokenizer of 151,936
tokens from llama.cpp's vocabulary file (llama_sources.py puts it into --sources).
Shapes: model card of codefuse-ai/ML-Embed-0.6B. Random weights say nothing about quality.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from qwen2_tokenizer import END, PAD, write_tokenizer
from safetensors.torch import save_file

from mlexport.checkpoint import expected_shapes, read_config
from mlexport.model import TABLE

RANK = 512
MAX_LENGTH = 8192
CONFIG = {
    "architectures": ["Qwen3Model"],
    "attention_bias": False,
    "dtype": "bfloat16",
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "layer_types": ["full_attention"] * 28,
    "max_position_embeddings": 40960,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
}
FILES = {
    "modules.json": [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")))
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 1024, "pooling_mode_lasttoken": True, "include_prompt": True},
    "2_Normalize/config.json": {},
    "sentence_bert_config.json": {"max_seq_length": MAX_LENGTH, "do_lower_case": False},
}


def make(sources: Path, out: Path) -> None:
    """Write the folder."""
    out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(sources / "models" / "ggml-vocab-qwen2.gguf", out, MAX_LENGTH)
    ids = {token["content"]: token["id"] for token in json.loads((out / "tokenizer.json").read_text())["added_tokens"]}
    config = CONFIG | {"eos_token_id": ids[END], "pad_token_id": ids[PAD]}
    for name, content in ({"config.json": config} | FILES).items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    torch.manual_seed(0)
    shapes = expected_shapes(read_config(config, out / "config.json"))
    tensors = {name: _random(shape) for name, shape in shapes.items()}
    hidden = CONFIG["hidden_size"]
    u, v = _random((shapes[TABLE][0], RANK)), _random((RANK, hidden))
    for first in range(0, len(u), 8192):
        rows = u[first : first + 8192].float() @ v.float()
        tensors[TABLE][first : first + 8192] = rows.to(torch.bfloat16)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    torch.save(u, out / "U.pth")
    torch.save(v, out / "V.pth")


def _random(shape: tuple[int, ...]) -> torch.Tensor:
    """Norms near one, matrices that keep the size of what they multiply."""
    if len(shape) == 1:
        return (1 + 0.1 * torch.randn(shape)).to(torch.bfloat16)
    return (torch.randn(shape) * shape[1] ** -0.5).to(torch.bfloat16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    make(args.sources, args.out)
    print(f"{args.out}: {sum(path.stat().st_size for path in args.out.rglob('*') if path.is_file()):,} bytes")


if __name__ == "__main__":
    main()
