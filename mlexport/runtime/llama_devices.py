"""llama.cpp's devices: which its build has, and how a model is put on one."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlexport.errors import MeasureError
from mlexport.runtime.settings import Settings

CPU = "cpu"
# enum ggml_backend_dev_type: CPU, GPU, integrated GPU, accelerator
_GPU_TYPES = (1, 2)
# Word for --provider -> how names of ggml's devices or of their back end begin, and the CMake option that builds it
_BACK_ENDS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "gpu": (("",), "GGML_CUDA"),
    "cuda": (("cuda",), "GGML_CUDA"),
    "vulkan": (("vulkan",), "GGML_VULKAN"),
    "metal": (("metal", "mtl"), "GGML_METAL"),
    "rocm": (("rocm", "hip"), "GGML_HIP"),
    "sycl": (("sycl",), "GGML_SYCL"),
    "opencl": (("gpuopencl", "opencl"), "GGML_OPENCL"),
}
OPTIONS = ("micro_batch", "flash_attention", "kv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device of ggml: its name such as "CUDA0", its back end such as "CUDA", its type and its handle."""

    name: str
    back_end: str
    type: int
    handle: int


def devices(api: Any) -> tuple[Device, ...]:
    """What this build of llama.cpp finds; empty where its library does not say."""
    library = api._lib
    try:
        count, get = library.ggml_backend_dev_count, library.ggml_backend_dev_get
        name, kind = library.ggml_backend_dev_name, library.ggml_backend_dev_type
        registry, registry_name = library.ggml_backend_dev_backend_reg, library.ggml_backend_reg_name
    except AttributeError:
        return ()
    count.argtypes, count.restype = [], ctypes.c_size_t
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    name.argtypes, name.restype = [ctypes.c_void_p], ctypes.c_char_p
    kind.argtypes, kind.restype = [ctypes.c_void_p], ctypes.c_int
    registry.argtypes, registry.restype = [ctypes.c_void_p], ctypes.c_void_p
    registry_name.argtypes, registry_name.restype = [ctypes.c_void_p], ctypes.c_char_p
    return tuple(
        Device(
            name=name(handle).decode(),
            back_end=registry_name(registry(handle)).decode(),
            type=kind(handle),
            handle=handle,
        )
        for handle in map(get, range(count()))
    )


def chosen(api: Any, settings: Settings) -> Device | None:
    """The device that settings name; None for the CPU.

    Raises:
        MeasureError: this build has no such device.
    """
    word = (settings.provider or CPU).lower()
    if word == CPU:
        return None
    there = [one for one in devices(api) if one.type in _GPU_TYPES]
    if not api.llama_supports_gpu_offload():
        there = []
    starts, build = _BACK_ENDS.get(word, ((word,), ""))
    for one in there:
        if one.name.lower().startswith(starts) or one.back_end.lower().startswith(starts):
            return one
    names = ", ".join([CPU, *(one.name for one in there)])
    if not build:
        raise MeasureError(
            f"llama.cpp has no device '{word}' here (it has: {names}); known are cpu, "
            f"{', '.join(_BACK_ENDS)}, or a device's own name"
        )
    how = f'CMAKE_ARGS="-D{build}=on" pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python'
    raise MeasureError(f"llama.cpp has no {word} here (it has: {names}); build it with: {how}")


def check_options(settings: Settings) -> None:
    """Refuse options that llama.cpp is not given.

    Raises:
        MeasureError: an unknown one, or a value it does not have.
    """
    values = {"flash_attention": ("off", "on", "auto"), "kv": ("f32", "f16")}
    for key, value in settings.options.items():
        if key not in OPTIONS:
            raise MeasureError(f"llama.cpp takes no option '{key}': choose from {', '.join(OPTIONS)}")
        if key in values and value not in values[key]:
            raise MeasureError(f"{key} '{value}' is unknown: choose from {', '.join(values[key])}")
        if key == "micro_batch" and not (value.isdigit() and 1 <= int(value) <= 65536):
            raise MeasureError(f"micro_batch is '{value}': expected 1 to 65536")
