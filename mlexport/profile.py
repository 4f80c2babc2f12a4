"""Device profiles: what a processor can do, every figure with its source and how far to trust it.

A file of `device_profiles/` is one device with its units (cpu, gpu, npu); a unit's profile is called DEVICE-UNIT, such
as pixel-8-cpu. A device with one unit is also called by its own name alone, such as local or h200.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Names a unit may have in a file, and its kind
Kind = Literal["cpu", "gpu", "npu"]
Precision = Literal["f32", "f16", "bf16", "int8", "int4", "w8a16"]
RuntimeName = Literal["onnxruntime", "openvino", "llama.cpp", "litert", "coreml", "torch", "qnn"]
Target = Literal["gguf", "hf", "onnx", "openvino", "qnn"]


def _throughput_key(key: str) -> str:
    """A precision, or RUNTIME/PRECISION."""
    runtime, slash, precision = key.rpartition("/")
    if precision not in get_args(Precision) or (slash and runtime not in get_args(RuntimeName)):
        precisions, runtimes = ", ".join(get_args(Precision)), ", ".join(get_args(RuntimeName))
        raise ValueError(f"expected a precision ({precisions}) or RUNTIME/PRECISION ({runtimes})")
    return key


ThroughputKey = Annotated[str, AfterValidator(_throughput_key)]


class Grade(StrEnum):
    """How far to trust a figure."""

    MEASURED = "measured"
    PUBLISHED = "published"
    THIRD_PARTY = "third party"
    DERIVED = "derived"
    ASSUMED = "assumed"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Figure(_Strict):
    """A number that somebody can check."""

    value: Positive
    source: Annotated[str, Field(min_length=3)]
    """Where it is from: a page, a datasheet, or how it was derived."""
    grade: Grade
    low: Positive | None = None
    """Lower end, where the source gives a range or several values."""
    high: Positive | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not (self.low or self.value) <= self.value <= (self.high or self.value):
            raise ValueError(f"low {self.low}, value {self.value} and high {self.high} are not in this order")
        return self


class Throughput(Figure):
    """TFLOP/s, or TOP/s of integers; a multiply-add counts two."""

    by_tokens: Mapping[int, Positive] = {}
    """The same by rows of the product (tokens × batch), where they were measured apart."""


class Runtime(_Strict):
    """A runtime that runs on the unit, and what it takes."""

    name: RuntimeName
    provider: str | None = None
    """ONNX Runtime's provider, OpenVINO's device, llama.cpp's or torch's back end."""
    options: Mapping[str, str] = {}
    """Provider options as the runtime takes them."""
    targets: tuple[Target, ...]
    """Targets of `mlexport slice` that it runs; empty where the runtime takes none of them yet."""
    precisions: tuple[Precision, ...]
    """Compute precisions: keys of `effective`."""
    source: Annotated[str, Field(min_length=3)]
    """Who says that the runtime runs there with these precisions."""
    grade: Grade


class RuntimeTimes(_Strict):
    """What a runtime's time is made of on a unit, where `mlexport calibrate-device` has measured it there.

    `effective` says what whole models reach; these say it apart, and an estimate takes these where they are.
    """

    schemes: Mapping[str, Throughput]
    """Scheme of a plan (int8, int4_b32, q8_0, …) -> TFLOP/s or TOP/s of its products, by their rows."""
    attention: Throughput
    """TFLOP/s of q · kᵀ and of mixing v, by tokens."""
    between_gb_s: Figure
    """Norms, gates, residuals and rounding: GB/s of what goes into and comes out of the products, f32."""
    step_us: Figure
    """Time of a product or an attention apart from its operations."""
    call_ms: Figure
    """Time of a call apart from its steps."""
    resident_mb: Figure | None = None
    """Memory of a process that has opened a model without weights, MB (10^6 bytes)."""


class Limits(_Strict):
    """What does not go, or goes slowly."""

    file_mb: Figure | None = None
    """Largest model file, MB (10^6 bytes)."""
    memory_mb: Figure | None = None
    """What an app can take before the system ends it, MB (10^6 bytes)."""
    warnings: tuple[str, ...] = ()


class Unit(_Strict):
    """A processor of a device."""

    name: str
    """The part's name, such as "Hexagon V75"."""
    kind: Kind
    shapes: Literal["static", "dynamic"]
    """static: the compiler takes fixed shapes alone."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads that measurements on it use; CPUs alone."""
    operators: Literal["any", "openvino-npu", "qnn-htp"] = "any"
    """Which list of operators a graph must keep to."""
    runtimes: Annotated[tuple[Runtime, ...], Field(min_length=1)]
    peak: Mapping[Precision, Figure] = {}
    """Precision -> TFLOP/s or TOP/s as the maker gives them."""
    effective: Mapping[ThroughputKey, Throughput] = {}
    """Precision (f32, f16, bf16, int8, int4, w8a16), or RUNTIME/PRECISION -> what models reach."""
    bandwidth_gb_s: Figure | None = None
    """What models reach of the memory's bandwidth, GB/s; the device's peak where it is absent."""
    cache_mb: Figure | None = None
    """Last-level cache that weights can stay in, MB."""
    overhead_ms: Figure | None = None
    """Time of a call that does nothing: dispatch, copies."""
    times: Mapping[RuntimeName, RuntimeTimes] = {}
    """Runtime -> what its time is made of, measured."""
    limits: Limits = Limits()


class Memory(_Strict):
    """The device's memory, shared by its units unless a unit says otherwise."""

    capacity_gb: Figure | None = None
    bandwidth_gb_s: Figure | None = None
    """Peak, GB/s."""


class DeviceProfile(_Strict):
    """One file of `device_profiles/`."""

    device: str
    """Name in words."""
    chip: str
    form: Literal["phone", "laptop", "board", "desktop", "server", "this machine", "any"]
    memory: Memory = Memory()
    units: Annotated[Mapping[Kind, Unit], Field(min_length=1)]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _kinds(self) -> Self:
        for name, unit in self.units.items():
            if unit.kind != name:
                raise ValueError(f"'units.{name}' is of kind {unit.kind}")
        return self


class Profile(_Strict):
    """A unit with its device: what `--profile NAME` means."""

    name: str
    device: DeviceProfile
    unit: Unit
