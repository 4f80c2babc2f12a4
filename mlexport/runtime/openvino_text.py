"""Vectors of an IR that takes strings, through OpenVINO with openvino-tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mlexport.errors import missing_extra
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.runtime.batches import BATCH
from mlexport.runtime.openvino import OUTPUT, compiled_engine, compiled_model
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.tensors import Float32


class OpenVinoTextEmbedder:
    """An IR with the tokenizer inside; nothing else of the folder is read."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int, settings: Settings = DEFAULT) -> None:
        try:
            # Every Core made from here on knows its operators
            import openvino_tokenizers  # noqa: F401, PLC0415
        except ImportError:
            raise missing_extra("openvino-tokenizers", "text", "a model that takes strings") from None
        self.dim, self.settings = dim, settings
        self.path = folder / model_file
        self.compiled = compiled_model(self.path, settings)

    @property
    def fixed_shape(self) -> None:
        """An IR with its tokenizer takes texts of any length."""
        return None

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids as the file itself makes them."""
        found = (self.compiled({"text": [text]}) for text in texts)
        return [one["input_ids"][0][one["attention_mask"][0] == 1].tolist() for one in found]

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised; texts of like length run together."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            vectors[part] = self.compiled({"text": [texts[place] for place in part]})[OUTPUT]
        return vectors

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """An inference request of its own: one that is shared waits for the call before."""
        request = self.compiled.create_infer_request()
        return lambda texts: lambda: np.array(request.infer({"text": list(texts)})[OUTPUT], dtype=np.float32)

    def engine(self) -> Engine:
        """OpenVINO, its device, and the nodes that each device took, those of the tokenizer among them."""
        return compiled_engine(self.compiled, self.path, self.settings)

    def close(self) -> None:
        """Release the compiled model."""
        del self.compiled
