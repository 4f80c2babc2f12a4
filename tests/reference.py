"""The definition of a cut, in transformers alone: what every artifact is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer


def hand_cut(
    checkpoint: Path,
    texts: Sequence[str],
    *,
    layers: int,
    rank: int | None,
    dim: int,
    max_length: int | None = None,
) -> NDArray[np.float32]:
    """First layers, U[:, :r] @ V[:r], truncate, then normalise; float32 [texts, dim]. One text at a time, unpadded.

    The tokenizer must append EOS; with `max_length` it truncates and keeps it.
    """
    model = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    model.layers = model.layers[:layers]
    model.config.num_hidden_layers = layers
    if rank is not None:
        u, v = (torch.load(checkpoint / f"{name}.pth", weights_only=True).float() for name in "UV")
        model.embed_tokens.weight.data = u[:, :rank] @ v[:rank]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    rows = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt", truncation=max_length is not None, max_length=max_length)
            last = model(**ids).last_hidden_state[0, -1, :dim]
            rows.append(torch.nn.functional.normalize(last, dim=0).numpy())
    return np.stack(rows)
