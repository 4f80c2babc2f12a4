"""One module a format; `load` imports the one that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mlexport.artifact import TensorPlan
from mlexport.model import SubModel
from mlexport.spec import Target

_MODULES = {
    Target.HF: "huggingface",
    Target.GGUF: "gguf",
    Target.ONNX: "onnx",
    Target.OPENVINO: "openvino",
    Target.QNN: "qnn",
}
_TEXT_MODULES = {Target.ONNX: "onnx.text", Target.OPENVINO: "openvino_text"}


class Exporter(Protocol):
    """What a format's module offers."""

    def write(
        self,
        sub: SubModel,
        plan: Sequence[TensorPlan],
        folder: Path,
        advance: Callable[[int], None],
        *,
        precision: str | None = None,
    ) -> str:
        """Write the model into a folder as `plan` says, beside what other precisions wrote there.

        `advance` gets the bytes of tensors written; the file is called by `precision`, or by what most matrices follow.

        Returns:
            The file that a runtime opens, relative to `folder`; "." if it is the folder.
        """


class TextExporter(Protocol):
    """What a module offers that puts the tokenizer into the model."""

    def write_text_in(
        self, sub: SubModel, plan: Sequence[TensorPlan], folder: Path, model: str, advance: Callable[[int], None]
    ) -> str:
        """Beside `model`, which takes ids and is in `folder`, write one that takes strings; its name."""


def load_text(target: Target) -> TextExporter:
    """The module of a target whose files can take strings."""
    return cast(TextExporter, import_module(f"mlexport.export.{_TEXT_MODULES[target]}"))


def load(target: Target) -> Exporter:
    """The exporter of a target."""
    return cast(Exporter, import_module(f"mlexport.export.{_MODULES[target]}"))
