"""Vectors of a context binary through ONNX Runtime's QNN provider: Qualcomm's simulator, or the NPU where there is one.

In child processes: the simulator takes one core each, and about a second a layer and text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mlexport.errors import MeasureError
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.npu.simulator import Simulated, refuse_simulated, require_provider, simulated
from mlexport.runtime.batches import in_batches, padded
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.runtime.tokens import TextEncoder
from mlexport.tensors import Float32

# Each holds the model in memory
_MOST_CHILDREN = 4
_PROVIDER = "QNNExecutionProvider"


class QnnEmbedder:
    """A wrapper model, its context binary beside it, and the tokenizer of its folder."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int, settings: Settings = DEFAULT) -> None:
        require_provider()
        if settings.provider not in (None, _PROVIDER, "qnn") or settings.options:
            raise MeasureError(f"a context binary runs on {_PROVIDER} alone and takes no options: leave them out")
        self.encoder = TextEncoder(folder, text)
        self.text, self.dim, self.path = text, dim, folder / model_file
        self.children = [Simulated(self.path)]

    @property
    def fixed_shape(self) -> tuple[int, int]:
        """The shape that it was compiled for."""
        return self.children[0].shape

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids by tokenizer.json, cut to the longest text with the end token last."""
        return self.encoder.ids(texts)

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        rows = self.token_ids(texts)
        batch = self.children[0].shape[0]
        wanted = min(os.cpu_count() or 1, _MOST_CHILDREN, -(-len(rows) // batch)) if simulated() else 1
        self.children += [Simulated(self.path) for _ in range(wanted - len(self.children))]
        parts = [rows[place::wanted] for place in range(wanted)]
        with ThreadPoolExecutor(max_workers=max(wanted, 1)) as pool:
            found = list(pool.map(self._part, self.children[:wanted], parts))
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        for place, part in enumerate(found):
            vectors[place::wanted] = part
        return vectors

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """On a device, a process of its own.

        Raises:
            MeasureError: this is a simulator.
        """
        refuse_simulated(self.path)
        child = Simulated(self.path)
        self.children.append(child)

        def bind(texts: Sequence[str]) -> Call:
            ids, mask = padded(self.token_ids(texts), self.text.pad_id, child.shape[1])
            return lambda: _normalised(child.run(ids, mask))

        return bind

    def engine(self) -> Engine:
        """ONNX Runtime with Qualcomm's provider, which has the whole graph in one node."""
        return Engine(
            runtime="onnxruntime",
            version=version("onnxruntime"),
            provider=_PROVIDER,
            options={},
            threads=0,
            nodes={_PROVIDER: 1},
        )

    def close(self) -> None:
        """End the child processes."""
        for child in self.children:
            child.close()

    def _part(self, child: Simulated, rows: Sequence[Sequence[int]]) -> Float32:
        return _normalised(in_batches(rows, self.dim, child.run, pad_id=self.text.pad_id, shape=child.shape))


def _normalised(vectors: Float32) -> Float32:
    """Once more in float32: their length is right to f16's three digits."""
    found: Float32 = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return found
