"""What a measured number depends on: stored beside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlexport.bench import processor

_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_MODEL = Path("/proc/device-tree/model")
_THERMAL = Path("/sys/class/thermal")
# What the kernels of the runtimes here look for
_FEATURES = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm", "bf16", "sve", "sme"),
)
_LIBRARIES = ("mlexport", "numpy", "tokenizers", "onnxruntime", "openvino", "llama-cpp-python", "torch")


def facts(runtimes: Sequence[str]) -> dict[str, object]:
    """The machine, its system, and the versions of what is used.

    Args:
        runtimes: names of the runtimes that run, as `latency.Engine` has them.
    """
    info = cpuinfo()
    features = set(info.get("flags", info.get("Features", "")).split())
    return {
        "machine": machine_name(),
        "processor": processor_name(),
        "features": [name for name in _FEATURES if name in features],
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": processor.usable_cores(),
        "virtual": "hypervisor" in features,
        "memory_bytes": _memory(),
        "system": platform.platform(),
        "governor": ", ".join(processor.governors()) or None,
        "python": platform.python_version(),
        "versions": {name: found for name in _LIBRARIES if (found := _version(name)) and _used(name, runtimes)},
    }


def moment() -> dict[str, object]:
    """What changes: load, frequency, temperature."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "load": None if load is None else round(load, 2),
        "mhz": processor.mean_mhz(),
        "celsius": _hottest(),
        "loop_ns": processor.loop_ns(),
    }


def cpuinfo() -> dict[str, str]:
    """/proc/cpuinfo of the last core, key -> value; empty where there is none."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def processor_name() -> str:
    """As the system calls it; ARM boards may know no more than the architecture."""
    return cpuinfo().get("model name") or platform.processor() or platform.machine()


def machine_name() -> str | None:
    """The board's name in the device tree, such as "Raspberry Pi 5 Model B Rev 1.0"; None where there is none."""
    try:
        return _MODEL.read_text().strip("\0\n")
    except OSError:
        return None


def _memory() -> int | None:
    try:
        line = _MEMINFO.read_text().splitlines()[0]
    except OSError:
        return None
    return int(line.split()[1]) * 1024


def _hottest() -> float | None:
    found = []
    for file in _THERMAL.glob("thermal_zone*/temp"):
        try:
            found.append(int(file.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found) if found else None


def _used(name: str, runtimes: Sequence[str]) -> bool:
    mine = {"llama-cpp-python": "llama.cpp"}.get(name, name)
    return mine in runtimes or mine in ("mlexport", "numpy", "tokenizers")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
