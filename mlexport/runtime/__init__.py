"""One module a runtime; `load` imports the one that an artifact's target needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mlexport.model import TextFacts
from mlexport.spec import Target
from mlexport.tensors import Float32

# target -> module, class
_RUNTIMES = {
    Target.HF: ("torch", "TorchEmbedder"),
    Target.GGUF: ("llamacpp", "LlamaEmbedder"),
    Target.ONNX: ("ort", "OrtEmbedder"),
    Target.OPENVINO: ("openvino", "OpenVinoEmbedder"),
}


class Embedder(Protocol):
    """Texts to vectors in one runtime."""

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised; prompts are the caller's."""

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids as this runtime tokenises, cut to the longest text with the end token last."""

    def close(self) -> None:
        """Release what the runtime holds."""


def load(target: Target, folder: Path, model_file: str, text: TextFacts, dim: int) -> Embedder:
    """Open an artifact's model in its runtime.

    Raises:
        MissingExtraError: the runtime is not installed.
        ArtifactError: the runtime refuses the file.
    """
    module, name = _RUNTIMES[target]
    embedder = getattr(import_module(f"mlexport.runtime.{module}"), name)
    return cast(Embedder, embedder(folder, model_file, text, dim))
