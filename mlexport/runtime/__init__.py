"""One module a runtime; `load` imports the one that an artifact's target needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from mlexport.artifact import IDS, TEXT
from mlexport.errors import missing_extra
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.spec import Target
from mlexport.tensors import Float32

# target, what the file takes -> module, class
_RUNTIMES = {
    (Target.HF, IDS): ("torch", "TorchEmbedder"),
    (Target.GGUF, IDS): ("llamacpp", "LlamaEmbedder"),
    (Target.ONNX, IDS): ("ort", "OrtEmbedder"),
    (Target.ONNX, TEXT): ("ort_text", "OrtTextEmbedder"),
    (Target.OPENVINO, IDS): ("openvino", "OpenVinoEmbedder"),
    (Target.QNN, IDS): ("qnn", "QnnEmbedder"),
    (Target.OPENVINO, TEXT): ("openvino_text", "OpenVinoTextEmbedder"),
}


# What a runtime imports: importing is not part of opening a model
_LIBRARIES = {
    (Target.HF, IDS): ("torch", "transformers", "sentence_transformers"),
    (Target.GGUF, IDS): ("llama_cpp",),
    (Target.ONNX, IDS): ("onnxruntime", "tokenizers"),
    (Target.ONNX, TEXT): ("onnxruntime", "onnxruntime_extensions"),
    (Target.OPENVINO, IDS): ("openvino", "tokenizers"),
    (Target.OPENVINO, TEXT): ("openvino", "openvino_tokenizers"),
    # In a process of its own
    (Target.QNN, IDS): ("tokenizers",),
}


class Embedder(Protocol):
    """Texts to vectors in one runtime."""

    @property
    def fixed_shape(self) -> tuple[int, int] | None:
        """The only (batch, tokens) that the model runs, shorter texts padded; None where any will do."""

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised; prompts are the caller's."""

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids as this runtime tokenises, cut to the longest text with the end token last."""

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """A way into the model for one thread at a time; several of them run at once.

        It takes `batch` texts of at most `tokens` tokens each and gives a call that runs them together, as often as it
        is called, without tokenising again; for a model that takes strings, with its own tokenising.
        """

    def engine(self) -> Engine:
        """What runs the model, and which part of it each provider took."""

    def close(self) -> None:
        """Release what the runtime holds."""


def load(
    target: Target,
    folder: Path,
    model_file: str,
    text: TextFacts,
    dim: int,
    *,
    takes: str = IDS,
    settings: Settings = DEFAULT,
) -> Embedder:
    """Open an artifact's model in its runtime.

    Args:
        takes: IDS or TEXT, as the manifest's variant says.
        settings: where and how it runs.

    Raises:
        MissingExtraError: the runtime is not installed.
        ArtifactError: the runtime refuses the file.
        MeasureError: the provider of `settings` is missing, or refuses the file or its options.
    """
    module, name = _RUNTIMES[target, takes]
    embedder = getattr(import_module(f"mlexport.runtime.{module}"), name)
    return cast(Embedder, embedder(folder, model_file, text, dim, settings))


def libraries(target: Target, takes: str = IDS) -> tuple[str, ...]:
    """Modules of other projects that `load` will need."""
    return _LIBRARIES[target, takes]


def import_libraries(target: Target, takes: str = IDS) -> None:
    """Import what `load` will need, so that it takes no part of its time; what is missing is `load`'s to say."""
    for name in _LIBRARIES[target, takes]:
        with suppress(ImportError):
            import_module(name)
    import_module(f"mlexport.runtime.{_RUNTIMES[target, takes][0]}")


def require_libraries(target: Target) -> None:
    """Refuse what a later `load` would refuse.

    Raises:
        MissingExtraError: a library of the target's runtime is not installed.
    """
    for name in _LIBRARIES[target, IDS]:
        if find_spec(name) is None:
            extra = "torch" if target is Target.HF else target.value
            raise missing_extra(name, extra, f"target {target}")
