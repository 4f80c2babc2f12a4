"""Vectors of an ONNX file that takes strings, through ONNX Runtime with onnxruntime-extensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mlexport.errors import missing_extra
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.runtime.batches import BATCH
from mlexport.runtime.ort import OUTPUT, open_session, session_engine
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.tensors import Float32


class OrtTextEmbedder:
    """An ONNX file with the tokenizer inside; nothing else of the folder is read."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int, settings: Settings = DEFAULT) -> None:
        try:
            from onnxruntime_extensions import get_library_path  # noqa: PLC0415
        except ImportError:
            raise missing_extra("onnxruntime-extensions", "text", "a model that takes strings") from None
        self.dim, self.settings = dim, settings
        self.session = open_session(folder / model_file, get_library_path(), settings)

    @property
    def fixed_shape(self) -> None:
        """A file with its tokenizer takes texts of any length."""
        return None

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids as the file itself makes them."""
        from onnxruntime import RunOptions  # noqa: PLC0415

        options = RunOptions()
        # The model behind the tokenizer is not needed for these
        options.only_execute_path_to_fetches = True
        rows = []
        for text in texts:
            ids, mask = self.session.run(["input_ids", "attention_mask"], _strings([text]), options)
            rows.append(ids[0][mask[0] == 1].tolist())
        return rows

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised; texts of like length run together."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            vectors[part] = self._run([texts[place] for place in part])
        return vectors

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """A session may be run from several threads at once."""
        return lambda texts: partial(self._run, texts)

    def engine(self) -> Engine:
        """ONNX Runtime, its provider, and the nodes that each provider took, those of the tokenizer among them."""
        return session_engine(self.session, self.settings)

    def close(self) -> None:
        """Release the session."""
        del self.session

    def _run(self, texts: Sequence[str]) -> Float32:
        [vectors] = self.session.run([OUTPUT], _strings(texts))
        return np.asarray(vectors, dtype=np.float32)


def _strings(texts: Sequence[str]) -> dict[str, np.ndarray[tuple[int], np.dtype[np.object_]]]:
    return {"text": np.array(texts, dtype=object)}
