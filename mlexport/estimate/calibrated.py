"""A calibration as a device profile: what `estimate --profile my-laptop.yaml` reads."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from mlexport.estimate.figures import precision_of
from mlexport.estimate.fit import Fitted
from mlexport.profile import DeviceProfile, Grade, Profile, Unit
from mlexport.spec import Target

RUNTIMES: Mapping[Target, str] = {
    Target.ONNX: "onnxruntime",
    Target.OPENVINO: "openvino",
    Target.GGUF: "llama.cpp",
}
_PROVIDERS = {"onnxruntime": "CPUExecutionProvider", "openvino": "CPU", "llama.cpp": "cpu"}
# Rows at which one figure stands for all
_USUAL = 128
_DIGITS = 4
# Below this nothing was seen beside the other times
_LEAST = 1e-3


def profile_data(fits: Mapping[Target, Fitted], bandwidth_gb_s: float, models: Sequence[str]) -> dict[str, Any]:
    """The profile as plain data, checked by its schema."""
    source = f"measured on this machine on {date.today().isoformat()} with {', '.join(models)}"
    data: dict[str, Any] = {
        "device": platform.node() or "This machine",
        "chip": _processor(),
        "form": "this machine",
        "units": {"cpu": _unit(fits, bandwidth_gb_s, source)},
        "notes": [
            "Written by `mlexport calibrate-device`: each time a sum of known amounts, solved for what one takes."
        ],
    }
    DeviceProfile.model_validate(data)
    return data


def profile_of(fits: Mapping[Target, Fitted], bandwidth_gb_s: float, models: Sequence[str]) -> Profile:
    """The profile itself."""
    device = DeviceProfile.model_validate(profile_data(fits, bandwidth_gb_s, models))
    unit: Unit = device.units["cpu"]
    return Profile(name="calibrated-cpu", device=device, unit=unit)


def profile_yaml(data: Mapping[str, Any], file: Path) -> str:
    """The text of the file."""
    opening = f"# mlexport estimate out/demo --profile {file}\n"
    return opening + yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120)


def _unit(fits: Mapping[Target, Fitted], bandwidth: float, source: str) -> dict[str, Any]:
    runtimes = [
        {
            "name": RUNTIMES[target],
            "provider": _PROVIDERS[RUNTIMES[target]],
            "targets": [target.value],
            "precisions": sorted({precision_of(scheme) for scheme in fit.schemes}),
            "source": source,
            "grade": Grade.MEASURED.value,
        }
        for target, fit in fits.items()
    ]
    return {
        "name": _processor(),
        "kind": "cpu",
        "shapes": "dynamic",
        "threads": os.cpu_count() or 1,
        "runtimes": runtimes,
        "effective": {key: one for target, fit in fits.items() for key, one in _effective(target, fit, source)},
        "bandwidth_gb_s": _figure(bandwidth, f"a copy in memory, {source}"),
        "times": {RUNTIMES[target]: _times(fit, source) for target, fit in fits.items()},
    }


def _effective(target: Target, fit: Fitted, source: str) -> list[tuple[str, dict[str, Any]]]:
    """By precision, for what has no scheme of its own: the scheme of a precision that is the slowest."""
    found: dict[str, dict[int, float]] = {}
    for scheme, rates in fit.schemes.items():
        key = f"{RUNTIMES[target]}/{precision_of(scheme)}"
        if key not in found or _usual(rates) < _usual(found[key]):
            found[key] = dict(rates)
    return [(key, _throughput(rates, source)) for key, rates in found.items()]


def _times(fit: Fitted, source: str) -> dict[str, Any]:
    return {
        "schemes": {scheme: _throughput(rates, source) for scheme, rates in fit.schemes.items()},
        "attention": _throughput(fit.attention, source),
        "between_gb_s": _figure(fit.between, source),
        "step_us": _figure(max(_LEAST, 1e6 * fit.step), source),
        "call_ms": _figure(max(_LEAST, 1e3 * fit.call), source),
    }


def _throughput(rates: Mapping[int, float], source: str) -> dict[str, Any]:
    by_tokens = {rows: _rounded(rate) for rows, rate in sorted(rates.items())}
    return _figure(_usual(rates), source) | {"by_tokens": by_tokens}


def _usual(rates: Mapping[int, float]) -> float:
    return rates[min(rates, key=lambda rows: abs(rows - _USUAL))]


def _figure(value: float, source: str) -> dict[str, Any]:
    return {"value": _rounded(value), "grade": Grade.MEASURED.value, "source": source}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, "") or platform.processor() or platform.machine() or "unknown"
