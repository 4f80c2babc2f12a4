"""One module a runtime; `load` imports the one that an artifact's target needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mlexport.artifact import IDS, TEXT
from mlexport.model import TextFacts
from mlexport.spec import Target
from mlexport.tensors import Float32

# target, what the file takes -> module, class
_RUNTIMES = {
    (Target.HF, IDS): ("torch", "TorchEmbedder"),
    (Target.GGUF, IDS): ("llamacpp", "LlamaEmbedder"),
    (Target.ONNX, IDS): ("ort", "OrtEmbedder"),
    (Target.ONNX, TEXT): ("ort_text", "OrtTextEmbedder"),
    (Target.OPENVINO, IDS): ("openvino", "OpenVinoEmbedder"),
    (Target.OPENVINO, TEXT): ("openvino_text", "OpenVinoTextEmbedder"),
}


class Embedder(Protocol):
    """Texts to vectors in one runtime."""

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised; prompts are the caller's."""

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids as this runtime tokenises, cut to the longest text with the end token last."""

    def close(self) -> None:
        """Release what the runtime holds."""


def load(target: Target, folder: Path, model_file: str, text: TextFacts, dim: int, *, takes: str = IDS) -> Embedder:
    """Open an artifact's model in its runtime.

    Args:
        takes: IDS or TEXT, as the manifest's variant says.

    Raises:
        MissingExtraError: the runtime is not installed.
        ArtifactError: the runtime refuses the file.
    """
    module, name = _RUNTIMES[target, takes]
    embedder = getattr(import_module(f"mlexport.runtime.{module}"), name)
    return cast(Embedder, embedder(folder, model_file, text, dim))
