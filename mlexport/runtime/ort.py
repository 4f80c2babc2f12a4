"""Vectors of an ONNX file through ONNX Runtime, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlexport.errors import ArtifactError, missing_extra
from mlexport.model import TextFacts
from mlexport.runtime.batches import Ids, in_batches, one_by_one
from mlexport.runtime.tokens import TextEncoder
from mlexport.tensors import Float32, StoredArray

if TYPE_CHECKING:
    import onnxruntime as ort

OUTPUT = "sentence_embedding"


def open_session(path: Path, library: str | None = None) -> ort.InferenceSession:
    """A session on the CPU.

    Args:
        library: a library of operators that the file needs.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        ArtifactError: ONNX Runtime refuses the file.
    """
    try:
        import onnxruntime as ort  # noqa: PLC0415
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf  # noqa: PLC0415
    except ImportError:
        raise missing_extra("onnxruntime", "onnx", "target onnx") from None
    options = ort.SessionOptions()
    # Threads that spin while they wait would slow whatever runs beside
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 3
    if library is not None:
        options.register_custom_ops_library(library)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path} is refused by ONNX Runtime: {reason}") from None


class OrtEmbedder:
    """An ONNX file and the tokenizer beside it; texts of like length run together, padded right."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int) -> None:
        self.encoder = TextEncoder(folder, text)
        self.text, self.dim = text, dim
        self.session = open_session(folder / model_file)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids by tokenizer.json, cut to the longest text with the end token last."""
        return self.encoder.ids(texts)

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        return in_batches(self.token_ids(texts), self.dim, self._run, pad_id=self.text.pad_id, shape=self._shape())

    def both(self, texts: Sequence[str], output: str) -> tuple[Float32, StoredArray]:
        """Vectors, and what the graph's output of a name has for them: the same as they are stored."""

        def run(ids: Ids, mask: Ids) -> tuple[Float32, StoredArray]:
            vectors, codes = self.session.run([OUTPUT, output], {"input_ids": ids, "attention_mask": mask})
            return vectors, codes

        return one_by_one(self.token_ids(texts), run, pad_id=self.text.pad_id, shape=self._shape())

    def close(self) -> None:
        """Release the session."""
        del self.session

    def _shape(self) -> tuple[int, int] | None:
        sizes = self.session.get_inputs()[0].shape
        # Names stand for axes of any length
        return None if any(isinstance(size, str) for size in sizes) else tuple(sizes)

    def _run(self, ids: Ids, mask: Ids) -> Float32:
        [vectors] = self.session.run([OUTPUT], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(vectors, dtype=np.float32)
