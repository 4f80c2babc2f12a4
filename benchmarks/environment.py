"""What a measured number depends on: stored beside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

_CPU_FEATURES = ("avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")


def environment(libraries: Sequence[str]) -> dict[str, object]:
    """Machine, load when asked, and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    features = set(facts.get("flags", facts.get("Features", "")).split())
    return {
        "date": date.today().isoformat(),
        "processor": facts.get("model name", "unknown"),
        "features": [name for name in _CPU_FEATURES if name in features],
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }
