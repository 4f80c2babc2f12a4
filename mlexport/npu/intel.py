"""An OpenVINO model against Intel's NPU: asked operator by operator where a compiler is at hand, else by the list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlexport.npu.operators import LISTS, unsupported

if TYPE_CHECKING:
    import openvino as ov

_DEVICE = "NPU"
_LIST = "openvino-npu"
# No work of their own: OpenVINO's query leaves them out
_PLACES = frozenset(("Parameter", "Result", "Constant"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found of a model.

    Attributes:
        method: "query" or "list".
        source: OpenVINO's version, or where the list was read.
        operators: kinds of operators.
        nodes: how many.
        refused: kinds that are not taken, for "query" each with the name of a node.
        static: whether every shape is fixed.
        not_asked: why the device's own compiler was not; None where it was.
    """

    method: str
    source: str
    operators: tuple[str, ...]
    nodes: int
    refused: tuple[str, ...]
    static: bool
    not_asked: str | None


def ask(path: Path, device: str = _DEVICE) -> Answer:
    """Whether Intel's NPU takes an IR or an ONNX file, by OpenVINO's query or by the list."""
    import openvino as ov  # noqa: PLC0415

    core = ov.Core()
    model = core.read_model(path)
    nodes = [op for op in model.get_ops() if op.get_type_name() not in _PLACES]
    kinds = tuple(sorted({op.get_type_name() for op in nodes}))
    try:
        taken: set[str] | None = set(core.query_model(model, device))
        reason = None
    except RuntimeError as error:
        taken, reason = None, _reason(error)
    if taken is None:
        method, source, refused = "list", LISTS[_LIST].source, unsupported(kinds, _LIST)
    else:
        method, source, refused = "query", f"openvino {ov.__version__}", _refused(nodes, taken)
    return Answer(
        method=method,
        source=source,
        operators=kinds,
        nodes=len(nodes),
        refused=refused,
        static=not model.is_dynamic(),
        not_asked=reason,
    )


def _refused(nodes: list[ov.Node], taken: set[str]) -> tuple[str, ...]:
    left = {op.get_type_name(): op.get_friendly_name() for op in reversed(nodes) if op.get_friendly_name() not in taken}
    return tuple(f"{kind} ({name})" for kind, name in sorted(left.items()))


def _reason(error: RuntimeError) -> str:
    """What OpenVINO says of a plug-in that cannot be asked; lines that name its own source files left out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("Exception from")]
    first = (said or lines or ["no reason given"])[0]
    return f"OpenVINO answers '{first.split(' Error: Exception from')[0].rstrip(',.')}'"
