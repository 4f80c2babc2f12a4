"""Vectors of an OpenVINO IR, on the CPU.

On machines that multiply bfloat16 in hardware OpenVINO computes in it unless it is told otherwise. Its 8 bits would
be the largest loss of an f32 or f16 artifact (demo: mean cosine .999992 for 1.0), so these name f32 in the file
and give the same vectors on every machine. Beside int8 weights it is not seen (.99924 either way) and takes half
the time: int8 and int4 are left to the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlexport.errors import ArtifactError, missing_extra
from mlexport.model import TextFacts
from mlexport.runtime.batches import Ids, in_batches, one_by_one
from mlexport.runtime.tokens import TextEncoder
from mlexport.spec import INFERENCE_PRECISION
from mlexport.tensors import Float32, StoredArray

if TYPE_CHECKING:
    import openvino as ov

OUTPUT = "sentence_embedding"


def compiled_model(path: Path) -> ov.CompiledModel:
    """An IR compiled for the CPU.

    Raises:
        MissingExtraError: openvino is not installed.
        ArtifactError: OpenVINO refuses the file.
    """
    try:
        import openvino as ov  # noqa: PLC0415
    except ImportError:
        raise missing_extra("openvino", "openvino", "target openvino") from None
    _check_start(path)
    core = ov.Core()
    try:
        model = core.read_model(path)
        return core.compile_model(model, "CPU", _settings(model))
    except RuntimeError as error:
        raise ArtifactError(f"{path} is refused by OpenVINO: {_reason(error)}") from None


class OpenVinoEmbedder:
    """An IR (.xml, its .bin beside it) and the tokenizer of its folder; texts of like length run together."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int) -> None:
        self.encoder = TextEncoder(folder, text)
        self.text, self.dim = text, dim
        self.compiled = compiled_model(folder / model_file)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids by tokenizer.json, cut to the longest text with the end token last."""
        return self.encoder.ids(texts)

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        return in_batches(self.token_ids(texts), self.dim, self._run, pad_id=self.text.pad_id, shape=self._shape())

    def both(self, texts: Sequence[str], output: str) -> tuple[Float32, StoredArray]:
        """Vectors, and what the graph's output of a name has for them: the same as they are stored."""

        def run(ids: Ids, mask: Ids) -> tuple[Float32, StoredArray]:
            found = self.compiled({"input_ids": ids, "attention_mask": mask})
            return np.array(found[OUTPUT]), np.array(found[output])

        return one_by_one(self.token_ids(texts), run, pad_id=self.text.pad_id, shape=self._shape())

    def close(self) -> None:
        """Release the compiled model."""
        del self.compiled

    def _shape(self) -> tuple[int, int] | None:
        sizes = self.compiled.input("input_ids").get_partial_shape()
        return tuple(sizes.to_shape()) if sizes.is_static else None

    def _run(self, ids: Ids, mask: Ids) -> Float32:
        found = self.compiled({"input_ids": ids, "attention_mask": mask})
        return np.array(found[OUTPUT], dtype=np.float32)


def _check_start(path: Path) -> None:
    """Refuse what is no XML: OpenVINO would try every other format, and they complain on standard error."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    if not start.lstrip().startswith(b"<"):
        raise ArtifactError(f"{path} is no OpenVINO IR: it does not start as XML does")


def _settings(model: ov.Model) -> dict[str, str]:
    key = list(INFERENCE_PRECISION)
    return {"INFERENCE_PRECISION_HINT": model.get_rt_info(key).value} if model.has_rt_info(key) else {}


def _reason(error: RuntimeError) -> str:
    """The last line of OpenVINO's message; those before it name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason given"
