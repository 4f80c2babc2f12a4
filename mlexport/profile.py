"""Device profiles: what a processor can do, every figure with its source and how far to trust it.

A file of `device_profiles/` is one device with its units (cpu, gpu, npu); a unit's profile is called DEVICE-UNIT, such
as pixel-8-cpu. A device with one unit is also called by its own name alone, such as local or h200.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Names a unit may have in a file, and its kind
Kind = Literal["cpu", "gpu", "npu"]


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


class Throughput(Figure):
    """TFLOP/s, or TOP/s of integers; a multiply-add counts two."""

    by_tokens: Mapping[int, Positive] = {}
    """The same by rows of the product (tokens × batch), where they were measured apart."""


class Runtime(_Strict):
    """A runtime that runs on the unit, and what it takes."""

    name: Literal["onnxruntime", "openvino", "llama.cpp", "litert", "coreml", "torch", "qnn"]
    provider: str | None = None
    """ONNX Runtime's provider, OpenVINO's device, llama.cpp's or torch's back end."""
    options: Mapping[str, str] = {}
    """Provider options as the runtime takes them."""
    targets: tuple[str, ...]
    """Targets of `mlexport slice` that it runs; empty where the runtime takes none of them yet."""
    precisions: tuple[str, ...]
    """Compute precisions: keys of `effective`."""
    source: str
    """Who says that the runtime runs there with these precisions."""
    grade: Grade


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
    runtimes: tuple[Runtime, ...]
    peak: Mapping[str, Figure] = {}
    """Precision -> TFLOP/s or TOP/s as the maker gives them."""
    effective: Mapping[str, Throughput] = {}
    """Precision (f32, f16, bf16, int8, int4, w8a16), or RUNTIME/PRECISION -> what models reach."""
    bandwidth_gb_s: Figure | None = None
    """What models reach of the memory's bandwidth, GB/s; the device's peak where it is absent."""
    cache_mb: Figure | None = None
    """Last-level cache that weights can stay in, MB."""
    overhead_ms: Figure | None = None
    """Time of a call that does nothing: dispatch, copies."""
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


class Profile(_Strict):
    """A unit with its device: what `--profile NAME` means."""

    name: str
    device: DeviceProfile
    unit: Unit
