"""Cut, quantise, export and verify 3D-Matryoshka text-embedding models.

    import mlexport

    request = mlexport.SliceRequest(model="demo", layers=8, dim=128, out=Path("out/demo"))
    [result] = mlexport.slice_model(request)
    with mlexport.open_artifact(Path("out/demo")) as model:
        vectors = model.embed(["edit photos"], query=True)

Names are imported when they are first used: `import mlexport` itself loads nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlexport.artifact import Artifact, VerifyReport, read_artifact
    from mlexport.checkpoint import open_checkpoint
    from mlexport.errors import MlexportError
    from mlexport.evaluation import evaluate_artifacts
    from mlexport.model import Checkpoint, SubModel
    from mlexport.opened import OpenArtifact, open_artifact, search
    from mlexport.pipeline import inspect, plan_slice, slice_model, verify_artifact
    from mlexport.request import SliceRequest
    from mlexport.spec import SubModelSpec, Target

_PLACES = {
    "artifact": ("Artifact", "VerifyReport", "read_artifact"),
    "checkpoint": ("open_checkpoint",),
    "errors": ("MlexportError",),
    "evaluation": ("evaluate_artifacts",),
    "model": ("Checkpoint", "SubModel"),
    "opened": ("OpenArtifact", "open_artifact", "search"),
    "pipeline": ("inspect", "plan_slice", "slice_model", "verify_artifact"),
    "request": ("SliceRequest",),
    "spec": ("SubModelSpec", "Target"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Artifact",
    "Checkpoint",
    "MlexportError",
    "OpenArtifact",
    "SliceRequest",
    "SubModel",
    "SubModelSpec",
    "Target",
    "VerifyReport",
    "evaluate_artifacts",
    "inspect",
    "open_artifact",
    "open_checkpoint",
    "plan_slice",
    "read_artifact",
    "search",
    "slice_model",
    "verify_artifact",
]


def __getattr__(name: str) -> object:
    """A public name, from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'mlexport' has no attribute '{name}'")
    return getattr(import_module(f"mlexport.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
