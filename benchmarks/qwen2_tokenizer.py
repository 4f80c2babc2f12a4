"""Qwen2's tokenizer as a Hugging Face tokenizer.json, rebuilt from llama.cpp's vocabulary file."""

from __future__ import annotations

import json
from pathlib import Path

from gguf import GGUFReader, TokenType
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import Regex as Pattern

from mlexport.export.gguf import QWEN2_SPLIT

END, PAD = "<|im_end|>", "<|endoftext|>"


def write_tokenizer(vocabulary: Path, folder: Path, max_length: int) -> None:
    """Write tokenizer.json and tokenizer_config.json; like Qwen's own, no token is appended to a text.

    Args:
        vocabulary: ggml-vocab-qwen2.gguf, 151,936 tokens with their merges.
    """
    fields = GGUFReader(vocabulary).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    normal = {token: i for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == TokenType.NORMAL}
    tokenizer = Tokenizer(models.BPE(vocab=normal, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Pattern(QWEN2_SPLIT), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": max_length,
        "tokenizer_class": "Qwen2Tokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
