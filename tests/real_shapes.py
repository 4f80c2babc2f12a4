"""A checkpoint with ML-Embed-0.6B's shapes and tokenizer whose weights are a hole in a file: sizes can be planned."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path

import torch
from qwen2_tokenizer import END, PAD
from real_shapes import CONFIG, FILES, MAX_LENGTH, RANK

from mlexport.checkpoint import expected_shapes, read_config
from tests.qwen2 import put_tokenizer


def make_hollow(folder: Path, tokenizer: Path) -> Path:
    """Write the folder: 1.4 GB to look at, some MB on disk; `tokenizer` has its two files."""
    folder.mkdir(parents=True)
    put_tokenizer(tokenizer, folder, MAX_LENGTH)
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    ids = {token["content"]: token["id"] for token in added}
    config = CONFIG | {"eos_token_id": ids[END], "pad_token_id": ids[PAD]}
    for name, content in ({"config.json": config} | FILES).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    header, at = dict[str, object](), 0
    for name, shape in expected_shapes(read_config(config, folder / "config.json")).items():
        end = at + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    # Views of one number each would be stored as one number
    for name, shape in (("U", (CONFIG["vocab_size"], RANK)), ("V", (RANK, CONFIG["hidden_size"]))):
        torch.save(torch.zeros(shape, dtype=torch.bfloat16), folder / f"{name}.pth")
    return folder
