"""ONNX Runtime's execution providers: their names, what brings them, and which nodes they took."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mlexport.errors import MeasureError
from mlexport.npu.simulator import refuse_simulated

if TYPE_CHECKING:
    import onnxruntime as ort

CPU = "CPUExecutionProvider"
QNN = "QNNExecutionProvider"
XNNPACK = "XnnpackExecutionProvider"
DIRECTML = "DmlExecutionProvider"

# The word for --provider -> ONNX Runtime's name
_NAMES = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": QNN,
    "coreml": "CoreMLExecutionProvider",
    "directml": DIRECTML,
    "xnnpack": XNNPACK,
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
# Wheels that bring one; each replaces the package onnxruntime, but qnn's, which goes beside it
_BROUGHT_BY = {
    "CUDAExecutionProvider": "get it with: pip uninstall onnxruntime && pip install onnxruntime-gpu[cuda,cudnn]",
    "TensorrtExecutionProvider": (
        "get it with: pip uninstall onnxruntime && pip install onnxruntime-gpu[cuda,cudnn] tensorrt"
    ),
    "OpenVINOExecutionProvider": "get it with: pip uninstall onnxruntime && pip install onnxruntime-openvino",
    QNN: "get it with: pip install onnxruntime-qnn",
    "CoreMLExecutionProvider": "the wheel for macOS has it: pip install onnxruntime",
    DIRECTML: "on Windows, get it with: pip uninstall onnxruntime && pip install onnxruntime-directml",
    XNNPACK: "no wheel has it: build ONNX Runtime with --use_xnnpack, or measure with its package for Android or iOS",
}
# Providers in a library of their own, beside ONNX Runtime: module that knows where it lies
_PLUG_INS = {QNN: "onnxruntime_qnn"}


def provider_name(given: str | None) -> str:
    """ONNX Runtime's name of a provider; a short word in any case, or its own name, which passes unchanged."""
    if given is None:
        return CPU
    known = {name.lower(): name for name in _NAMES.values()}
    return _NAMES.get(given.lower()) or known.get(given.lower()) or given


def add_provider(
    path: Path, options: ort.SessionOptions, provider: str, own: Mapping[str, str], threads: int
) -> ort.InferenceSession:
    """A session on a provider, the CPU behind it for the nodes that it leaves.

    Args:
        own: the provider's options.

    Raises:
        MeasureError: it is missing, or refuses the file or its options.
    """
    import onnxruntime as ort  # noqa: PLC0415

    if provider == QNN:
        refuse_simulated(path)
    plug_in = _plug_in(provider)
    if not plug_in and provider not in ort.get_available_providers():
        raise _missing(provider, ort.get_available_providers())
    given = dict(own)
    if provider == XNNPACK:
        # It has threads of its own; those of ONNX Runtime would contend with them
        given.setdefault("intra_op_num_threads", str(threads))
        options.intra_op_num_threads = 1
    if provider == DIRECTML:
        options.enable_mem_pattern = False
    try:
        if plug_in:
            options.add_provider_for_devices(_devices(provider), given)
            session = ort.InferenceSession(str(path), options)
        else:
            # Without this a provider that cannot start becomes a CPU session and a line of text
            session = ort.InferenceSession(str(path), options, providers=[(provider, given), CPU], enable_fallback=0)
    except Exception as error:  # noqa: BLE001 - a provider may raise anything
        reason = " ".join(str(error).split())[:300]
        raise MeasureError(f"{path} does not run on {provider}: {reason}") from None
    if provider not in session.get_providers():
        raise MeasureError(
            f"{provider} did not start, and {path} would have run on {', '.join(session.get_providers())}: its "
            f" libraries or its driver are missing; {_BROUGHT_BY.get(provider, 'see its page on onnxruntime.ai')}"
        )
    return session


def require_taken(session: ort.InferenceSession, provider: str, path: Path) -> None:
    """Refuse a session whose provider took nothing: its times would be the CPU's under another name.

    Raises:
        MeasureError: it took no node.
    """
    nodes = nodes_by_provider(session)
    if nodes and not nodes.get(provider):
        took = ", ".join(f"{name} {count}" for name, count in nodes.items())
        raise MeasureError(f"{provider} takes no node of {path} ({took}): this would be a run on the CPU")


def nodes_by_provider(session: ort.InferenceSession) -> dict[str, int]:
    """Provider -> nodes of the graph that it took, before they were fused; the most first.

    Releases of ONNX Runtime that cannot tell are asked for a profile of one call, whose nodes are those after fusion;
    empty for graphs that are not ours there.
    """
    if hasattr(session, "get_provider_graph_assignment_info"):
        counts: Counter[str] = Counter()
        for part in session.get_provider_graph_assignment_info():
            counts[part.ep_name] += len(part.get_nodes())
        return dict(counts.most_common())
    return _profiled(session)


def _profiled(session: ort.InferenceSession) -> dict[str, int]:
    """The same from the profile of one call, in a second session of the same model."""
    import numpy as np  # noqa: PLC0415
    import onnxruntime as ort  # noqa: PLC0415

    inputs = session.get_inputs()
    if {value.type for value in inputs} != {"tensor(int64)"}:
        return {}
    feed = {v.name: np.ones([s if isinstance(s, int) else 1 for s in v.shape], dtype=np.int64) for v in inputs}
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.log_severity_level = 3
        providers = [(name, session.get_provider_options().get(name, {})) for name in session.get_providers()]
        second = ort.InferenceSession(session._model_path, options, providers=providers)
        second.run(None, feed)
        events = json.loads(Path(second.end_profiling()).read_text(encoding="utf-8"))
    ran = [event["args"] for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    return dict(Counter(one["provider"] for one in ran).most_common())


def _plug_in(provider: str) -> bool:
    """Whether a library beside ONNX Runtime has it; it is registered if so."""
    import onnxruntime as ort  # noqa: PLC0415

    if provider not in _PLUG_INS or not hasattr(ort, "get_ep_devices"):
        return False
    try:
        module = import_module(_PLUG_INS[provider])
    except ImportError:
        return False
    if not _devices(provider):
        ort.register_execution_provider_library(provider, module.get_library_path())
    return bool(_devices(provider))


def _devices(provider: str) -> list[ort.OrtEpDevice]:
    import onnxruntime as ort  # noqa: PLC0415

    return [device for device in ort.get_ep_devices() if device.ep_name == provider]


def _missing(provider: str, available: list[str]) -> MeasureError:
    how = _BROUGHT_BY.get(provider) or f"known are {', '.join(_NAMES)}"
    return MeasureError(f"ONNX Runtime has no {provider} here (it has: {', '.join(available)}); {how}")
