"""Qualcomm's compiler and simulator, through ONNX Runtime's QNN provider: for the child processes alone.

The provider is a plug-in of onnxruntime-qnn. On Linux x86-64 it holds the compiler, and its HTP back end runs what it
compiled in a simulator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime as ort

_PROVIDER = "QNNExecutionProvider"
_TRACE = "qnn_op_trace.json"
_BINARY = "ep_cache_context"
# In the wrapper's metadata
_PREFIX = "mlexport."


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to compile.

    Attributes:
        model: the graph.
        out: the wrapper to write; the context binary lies beside it under its name with .bin.
        work: a folder for what the compiler says.
        metadata: written into the wrapper.
    """

    model: Path
    out: Path
    work: Path
    soc_model: int
    htp_arch: int
    metadata: Mapping[str, str]


class CompilerError(Exception):
    """The compiler failed."""


class NotTakenError(CompilerError):
    """It left nodes to the CPU; the message names them."""


def compile_context(job: Job) -> None:
    """Compile, with no node left to the CPU, and write the wrapper and the context binary.

    Raises:
        NotTakenError: nodes were not taken.
        CompilerError: anything else went wrong.
    """
    import onnxruntime as ort  # noqa: PLC0415

    options = _options(
        {
            "soc_model": str(job.soc_model),
            "htp_arch": str(job.htp_arch),
            "enable_htp_fp16_precision": "1",
            "enable_htp_prepare_only": "1",
            "enable_framework_op_trace": "1",
            "framework_op_trace_dir": str(job.work),
        }
    )
    options.add_session_config_entry("ep.context_enable", "1")
    options.add_session_config_entry("ep.context_embed_mode", "0")
    options.add_session_config_entry("ep.context_file_path", str(job.out))
    try:
        ort.InferenceSession(str(job.model), options)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's have no base of their own, and all go to the parent
        refused = _not_taken(job.work / _TRACE)
        if refused:
            raise NotTakenError(refused) from None
        raise CompilerError(" ".join(str(error).split())) from None
    _finish(job)


def open_context(path: Path) -> ort.InferenceSession:
    """A session on a compiled model."""
    import onnxruntime as ort  # noqa: PLC0415

    return ort.InferenceSession(str(path), _options({}))


def wrapper_facts(path: Path) -> tuple[Mapping[str, str], str]:
    """What was written into a wrapper, and the version of the compiler."""
    import onnx  # noqa: PLC0415

    model = onnx.load(path)
    found = {entry.key.removeprefix(_PREFIX): entry.value for entry in model.metadata_props}
    return found, _attribute(model, "ep_sdk_version").s.decode().removeprefix("v")


def _options(provider: Mapping[str, str]) -> ort.SessionOptions:
    import onnxruntime as ort  # noqa: PLC0415
    import onnxruntime_qnn as qnn  # noqa: PLC0415

    ort.register_execution_provider_library(_PROVIDER, qnn.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == _PROVIDER]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices[:1], {"backend_path": qnn.get_qnn_htp_path(), **provider})
    return options


def _not_taken(trace: Path) -> str:
    """The nodes that a trace lists as unsupported, by kind; empty where there are none."""
    if not trace.is_file():
        return ""
    nodes = json.loads(trace.read_text(encoding="utf-8")).get("unsupported_nodes", [])
    kinds: dict[str, list[str]] = {}
    for node in nodes:
        kinds.setdefault(node["op_type"], []).append(node["node_name"])
    return ", ".join(f"{kind} ({names[0]}{_more(len(names))})" for kind, names in kinds.items())


def _more(count: int) -> str:
    return "" if count == 1 else f" and {count - 1} more"


def _finish(job: Job) -> None:
    """The binary under the wrapper's own name, and in the wrapper what it was made for."""
    import onnx  # noqa: PLC0415

    model = onnx.load(job.out)
    name = _attribute(model, _BINARY)
    binary = job.out.with_suffix(".bin")
    job.out.with_name(name.s.decode()).replace(binary)
    name.s = binary.name.encode()
    summary = json.loads((job.work / _TRACE).read_text(encoding="utf-8"))["summary"]
    nodes = {"nodes": str(summary["total_onnx_nodes"])}
    onnx.helper.set_model_props(model, {f"{_PREFIX}{key}": value for key, value in {**job.metadata, **nodes}.items()})
    onnx.save(model, job.out)


def _attribute(model: Any, name: str) -> Any:
    [found] = [one for node in model.graph.node for one in node.attribute if one.name == name]
    return found
