"""Memory of the own process: resident now, and at most since it began."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes of physical memory; `resident` is the peak on systems that only say that."""

    resident: int
    peak: int


def held() -> Held:
    """What the process holds.

    Linux: VmRSS and VmHWM, which begin anew when a program is started; getrusage's maximum would be at least that of
    the process that started this one. macOS: getrusage, whose unit is bytes there. Windows: GetProcessMemoryInfo.
    """
    if _STATUS.exists():
        facts = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return Held(resident=_kilobytes(facts["VmRSS"]), peak=_kilobytes(facts["VmHWM"]))
    if sys.platform == "win32":
        return _windows()
    import resource  # noqa: PLC0415

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Held(resident=peak, peak=peak)


def _kilobytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def _windows() -> Held:
    """PROCESS_MEMORY_COUNTERS of psapi.h; not tested: no Windows at hand."""
    import ctypes  # noqa: PLC0415

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("PageFaultCount", ctypes.c_uint32),
            ("PeakWorkingSetSize", ctypes.c_size_t),
            ("WorkingSetSize", ctypes.c_size_t),
            *((f"other{number}", ctypes.c_size_t) for number in range(6)),
        )

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb)
    return Held(resident=counters.WorkingSetSize, peak=counters.PeakWorkingSetSize)
