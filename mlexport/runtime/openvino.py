"""Vectors of an OpenVINO IR: on the CPU, or on the device that `Settings` say.

On machines that multiply bfloat16 in hardware OpenVINO computes in it unless it is told otherwise. Its 8 bits would
be the largest loss of an f32 or f16 artifact (demo: mean cosine .999992 for 1.0), so these name f32 in the file
and give the same vectors on every machine. Beside int8 weights it is not seen (.99924 either way) and takes half
the time: int8 and int4 are left to the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlexport.errors import ArtifactError, MeasureError, missing_extra
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.runtime.batches import Ids, in_batches, one_by_one, padded
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.runtime.tokens import TextEncoder
from mlexport.spec import INFERENCE_PRECISION
from mlexport.tensors import Float32, StoredArray

if TYPE_CHECKING:
    import openvino as ov

OUTPUT = "sentence_embedding"
_PRECISION, _THREADS = "INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS"
# Devices that stand for others
_VIRTUAL = ("AUTO", "MULTI", "HETERO", "BATCH")
# Nodes of a compiled model that compute nothing
_NO_WORK = ("Input", "Output", "Const", "Parameter", "Result", "Constant")


def compiled_model(path: Path, settings: Settings = DEFAULT) -> ov.CompiledModel:
    """An IR compiled for the CPU, or for the device of `settings`.

    Raises:
        MissingExtraError: openvino is not installed.
        ArtifactError: OpenVINO refuses the file.
        MeasureError: the device is missing, or refuses the file or a property.
    """
    try:
        import openvino as ov  # noqa: PLC0415
    except ImportError:
        raise missing_extra("openvino", "openvino", "target openvino") from None
    _check_start(path)
    core, device = ov.Core(), device_name(settings)
    _require(device, core.available_devices)
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ArtifactError(f"{path} is refused by OpenVINO: {_reason(error)}") from None
    try:
        return core.compile_model(model, device, _properties(model, settings))
    except RuntimeError as error:
        if settings == DEFAULT:
            raise ArtifactError(f"{path} is refused by OpenVINO: {_reason(error)}") from None
        raise MeasureError(f"{path} does not run on OpenVINO's {device}: {_reason(error)}") from None


def device_name(settings: Settings) -> str:
    """OpenVINO's device: CPU, GPU, GPU.1, NPU, AUTO:…, HETERO:…."""
    return (settings.provider or "CPU").upper()


def compiled_engine(compiled: ov.CompiledModel, path: Path, settings: Settings) -> Engine:
    """What runs a compiled model."""
    import openvino as ov  # noqa: PLC0415

    device, properties = device_name(settings), _properties(None, settings)
    names = compiled.get_property("SUPPORTED_PROPERTIES")
    if _PRECISION in names:
        # What it computes in, which on some machines is bfloat16 unless it is told otherwise
        properties[_PRECISION] = str(compiled.get_property(_PRECISION).get_type_name())
    threads = int(compiled.get_property(_THREADS)) if _THREADS in names else 0
    return Engine(
        runtime="openvino",
        version=ov.get_version().split("-")[0],
        provider=device,
        options={key: value for key, value in properties.items() if key != _THREADS},
        threads=threads or settings.threads or 0,
        nodes=_nodes(compiled, path, device),
    )


class OpenVinoEmbedder:
    """An IR (.xml, its .bin beside it) and the tokenizer of its folder; texts of like length run together."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int, settings: Settings = DEFAULT) -> None:
        self.encoder = TextEncoder(folder, text)
        self.text, self.dim, self.settings = text, dim, settings
        self.path = folder / model_file
        self.compiled = compiled_model(self.path, settings)

    @property
    def fixed_shape(self) -> tuple[int, int] | None:
        """The model's (batch, tokens) where both are numbers."""
        sizes = self.compiled.input("input_ids").get_partial_shape()
        return tuple(sizes.to_shape()) if sizes.is_static else None

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids by tokenizer.json, cut to the longest text with the end token last."""
        return self.encoder.ids(texts)

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        return in_batches(self.token_ids(texts), self.dim, self._run, pad_id=self.text.pad_id, shape=self.fixed_shape)

    def both(self, texts: Sequence[str], output: str) -> tuple[Float32, StoredArray]:
        """Vectors, and what the graph's output of a name has for them: the same as they are stored."""

        def run(ids: Ids, mask: Ids) -> tuple[Float32, StoredArray]:
            found = self.compiled({"input_ids": ids, "attention_mask": mask})
            return np.array(found[OUTPUT]), np.array(found[output])

        return one_by_one(self.token_ids(texts), run, pad_id=self.text.pad_id, shape=self.fixed_shape)

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """An inference request of its own: one that is shared waits for the call before."""
        request = self.compiled.create_infer_request()
        length = self.fixed_shape[1] if self.fixed_shape else None

        def bind(texts: Sequence[str]) -> Call:
            rows = self.token_ids(texts)

            def call() -> Float32:
                ids, mask = padded(rows, self.text.pad_id, length)
                return np.array(request.infer({"input_ids": ids, "attention_mask": mask})[OUTPUT], dtype=np.float32)

            return call

        return bind

    def engine(self) -> Engine:
        """OpenVINO, its device, and the nodes that each device took."""
        return compiled_engine(self.compiled, self.path, self.settings)

    def close(self) -> None:
        """Release the compiled model."""
        del self.compiled

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


def _properties(model: ov.Model | None, settings: Settings) -> dict[str, str]:
    """What the model is compiled with: the precision its file names, then threads and streams, then the options."""
    key, found = list(INFERENCE_PRECISION), {}
    if model is not None and model.has_rt_info(key):
        found[_PRECISION] = model.get_rt_info(key).value
    if settings.threads is not None and "CPU" in device_name(settings):
        found[_THREADS] = str(settings.threads)
    if settings.streams > 1 and device_name(settings) in ("CPU", "GPU"):
        # Left alone, calls from several threads wait for each other
        found["NUM_STREAMS"] = str(settings.streams)
    return found | dict(settings.options)


def _require(device: str, available: Sequence[str]) -> None:
    """Refuse a device that is not there; OpenVINO's own message names its source files."""
    virtual, _, listed = device.partition(":")
    wanted = listed.split(",") if listed else [] if virtual in _VIRTUAL else [device]
    for one in wanted:
        name = one.lstrip("-").split("(")[0]
        if name not in available and name not in {found.split(".")[0] for found in available}:
            raise MeasureError(
                f"OpenVINO finds no {name} here (it finds: {', '.join(available)}); pip install openvino brings its "
                "plug-in, so what is missing is the device or its driver: "
                "https://docs.openvino.ai/2025/get-started/install-openvino/configurations.html"
            )


def _nodes(compiled: ov.CompiledModel, path: Path, device: str) -> dict[str, int]:
    """Device -> nodes of the compiled model; the most first.

    HETERO splits the model: each operator's device is asked with query_model, before they are fused. Any other
    device runs all or refuses.
    """
    if device.startswith("HETERO"):
        import openvino as ov  # noqa: PLC0415

        core = ov.Core()
        model = core.read_model(path)
        devices, works = core.query_model(model, device), (node for node in model.get_ops() if _works(node))
        return dict(Counter(devices.get(node.get_friendly_name(), "none") for node in works).most_common())
    names = compiled.get_property("EXECUTION_DEVICES")
    ran = [names] if isinstance(names, str) else list(names)
    nodes = [node for node in compiled.get_runtime_model().get_ops() if _works(node)]
    return {"+".join(ran) if ran else device: len(nodes)}


def _works(node: ov.Node) -> bool:
    """Whether a node computes something; those of a compiled model say so in their information."""
    info = node.get_rt_info()
    return (info["layerType"].astype(str) if "layerType" in info else node.get_type_name()) not in _NO_WORK


def _reason(error: RuntimeError) -> str:
    """The last line of OpenVINO's message; those before it name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no reason given"
