"""What this machine's processor changes of exact numbers."""

from __future__ import annotations

from pathlib import Path

_INFO = Path("/proc/cpuinfo")


def int8_overflows() -> bool:
    """Whether ONNX Runtime adds pairs of int8 products in 16 bits, which overflow: AVX2 without VNNI.

    Tiny random models lose most by it (mean cosine .967 for .98), trained ones little (.9994 for .9997).
    """
    lines = _INFO.read_text(encoding="utf-8").splitlines() if _INFO.exists() else []
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    return "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni"}


# The mean that int8 of a tiny random model reaches
INT8 = 0.95 if int8_overflows() else 0.97
