"""Vectors of an ONNX file through ONNX Runtime: on the CPU, or where `Settings` say."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlexport.errors import ArtifactError, MeasureError, missing_extra
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.runtime.batches import Ids, in_batches, one_by_one, padded
from mlexport.runtime.providers import CPU, add_provider, nodes_by_provider, provider_name, require_taken
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.runtime.tokens import TextEncoder
from mlexport.tensors import Float32, StoredArray

if TYPE_CHECKING:
    import onnxruntime as ort

OUTPUT = "sentence_embedding"
# Keys of Settings.options that are entries of the session's configuration, not the provider's options
_SESSION = "session."


def open_session(path: Path, library: str | None = None, settings: Settings = DEFAULT) -> ort.InferenceSession:
    """A session on the CPU, or on the provider of `settings`.

    Args:
        library: a library of operators that the file needs.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ArtifactError: ONNX Runtime refuses the file.
        MeasureError: the provider is missing, refuses the file or its options, or takes no node of it.
    """
    try:
        import onnxruntime as ort  # noqa: PLC0415
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf  # noqa: PLC0415
    except ImportError:
        raise missing_extra("onnxruntime", "onnx", "target onnx") from None
    options = ort.SessionOptions()
    # Threads that spin while they wait would slow whatever runs beside
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Which nodes each provider takes: asked by `engine`, and free
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.intra_op_num_threads = session_threads(settings)
    options.log_severity_level = 3
    for key, value in settings.options.items():
        if key.startswith(_SESSION):
            options.add_session_config_entry(key, value)
    if library is not None:
        options.register_custom_ops_library(library)
    provider = provider_name(settings.provider)
    own = {key: value for key, value in settings.options.items() if not key.startswith(_SESSION)}
    if provider != CPU:
        session = add_provider(path, options, provider, own, session_threads(settings))
        require_taken(session, provider, path)
        return session
    if own:
        raise MeasureError(f"{CPU} takes no option '{next(iter(own))}': those of the session begin with '{_SESSION}'")
    try:
        return ort.InferenceSession(str(path), options, providers=[CPU])
    except (Fail, InvalidGraph, InvalidProtobuf) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path} is refused by ONNX Runtime: {reason}") from None


def session_threads(settings: Settings) -> int:
    """Threads that share the work of one operator."""
    return settings.threads or os.cpu_count() or 1


def session_engine(session: ort.InferenceSession, settings: Settings) -> Engine:
    """What runs a session."""
    import onnxruntime as ort  # noqa: PLC0415

    return Engine(
        runtime="onnxruntime",
        version=ort.__version__,
        provider=provider_name(settings.provider),
        options=dict(settings.options),
        threads=session_threads(settings),
        nodes=nodes_by_provider(session),
    )


class OrtEmbedder:
    """An ONNX file and the tokenizer beside it; texts of like length run together, padded right."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int, settings: Settings = DEFAULT) -> None:
        self.encoder = TextEncoder(folder, text)
        self.text, self.dim, self.settings = text, dim, settings
        self.session = open_session(folder / model_file, settings=settings)

    @property
    def fixed_shape(self) -> tuple[int, int] | None:
        """The graph's (batch, tokens) where both are numbers."""
        sizes = self.session.get_inputs()[0].shape
        # Names stand for axes of any length
        return None if any(isinstance(size, str) for size in sizes) else tuple(sizes)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids by tokenizer.json, cut to the longest text with the end token last."""
        return self.encoder.ids(texts)

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        return in_batches(self.token_ids(texts), self.dim, self._run, pad_id=self.text.pad_id, shape=self.fixed_shape)

    def both(self, texts: Sequence[str], output: str) -> tuple[Float32, StoredArray]:
        """Vectors, and what the graph's output of a name has for them: the same as they are stored."""

        def run(ids: Ids, mask: Ids) -> tuple[Float32, StoredArray]:
            vectors, codes = self.session.run([OUTPUT, output], {"input_ids": ids, "attention_mask": mask})
            return vectors, codes

        return one_by_one(self.token_ids(texts), run, pad_id=self.text.pad_id, shape=self.fixed_shape)

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """A session may be run from several threads at once."""
        length = self.fixed_shape[1] if self.fixed_shape else None

        def bind(texts: Sequence[str]) -> Call:
            rows = self.token_ids(texts)
            return lambda: self._run(*padded(rows, self.text.pad_id, length))

        return bind

    def engine(self) -> Engine:
        """ONNX Runtime, its provider, and the nodes that each provider took."""
        return session_engine(self.session, self.settings)

    def close(self) -> None:
        """Release the session."""
        del self.session

    def _run(self, ids: Ids, mask: Ids) -> Float32:
        [vectors] = self.session.run([OUTPUT], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(vectors, dtype=np.float32)
