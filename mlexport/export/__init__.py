"""One module a format; `load` imports the one that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mlexport.artifact import TensorPlan
from mlexport.model import SubModel
from mlexport.spec import Target

_MODULES = {Target.HF: "huggingface", Target.GGUF: "gguf", Target.ONNX: "onnx", Target.OPENVINO: "openvino"}


class Exporter(Protocol):
    """What a format's module offers."""

    def write(self, sub: SubModel, plan: Sequence[TensorPlan], folder: Path, advance: Callable[[int], None]) -> str:
        """Write the model into an empty folder as `plan` says; `advance` gets the bytes of tensors written.

        Returns:
            The file that a runtime opens, relative to `folder`; "." if it is the folder.
        """


def write_text_in(sub: SubModel, plan: Sequence[TensorPlan], model: Path, advance: Callable[[int], None]) -> None:
    """Beside an ONNX file that takes ids, one that takes strings: see `mlexport.export.onnx.text`."""
    import_module("mlexport.export.onnx.text").write_text_in(sub, plan, model, advance)


def load(target: Target) -> Exporter:
    """The exporter of a target."""
    return cast(Exporter, import_module(f"mlexport.export.{_MODULES[target]}"))
