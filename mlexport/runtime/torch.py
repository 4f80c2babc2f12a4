"""Vectors of an `hf` artifact, through sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlexport.errors import missing_extra
from mlexport.model import TextFacts
from mlexport.tensors import Float32

BATCH = 16


class TorchEmbedder:
    """SentenceTransformer on the folder as it stands: its own tokenizer, pooling, dim cut and normalisation."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int) -> None:
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        except ImportError:
            raise missing_extra("sentence_transformers", "torch", "target hf") from None
        import transformers  # noqa: PLC0415

        # Its own bar would run through ours
        transformers.utils.logging.disable_progress_bar()
        self.dim = dim
        self.model = SentenceTransformer(str(folder / model_file), device="cpu", local_files_only=True)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids as the folder's own tokenizer and length limit give them, EOS last."""
        limit = self.model.max_seq_length
        encoded = self.model.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        return [list(ids) for ids in encoded]

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        # Prompts are put before the texts by the caller: no default prompt may come on top
        vectors = self.model.encode(list(texts), prompt="", batch_size=BATCH, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def close(self) -> None:
        """Nothing is held but memory."""
        del self.model
