"""How busy and how fast the processor is, as Linux says it; None on systems that do not say."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

_STAT = Path("/proc/stat")
_CPUS = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
# Of the fixed loop: about a millisecond
_ROUNDS, _REPEATS = 20_000, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """Time of all cores since the start of the system, in the kernel's ticks.

    Attributes:
        busy: of processes and of the kernel for them.
        steal: that the hypervisor gave to other machines.
        total: idle time included.
    """

    busy: int
    steal: int
    total: int


def ticks(text: str | None = None) -> Ticks | None:
    """Ticks until now, or those of `text`, the content of /proc/stat (proc(5))."""
    try:
        content = _STAT.read_text() if text is None else text
    except OSError:
        return None
    # user nice system idle iowait irq softirq steal; guest time is in user already
    values = [int(value) for value in content.split("\n", 1)[0].split()[1:9]]
    user, nice, system, idle, wait, irq, soft, steal = values
    busy = user + nice + system + irq + soft
    return Ticks(busy=busy, steal=steal, total=busy + idle + wait + steal)


def tick_ns() -> int:
    """Nanoseconds of a tick."""
    # 100 a second is what every Linux that matters has; Windows has no sysconf
    return int(1e9 / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100))


def usable_cores() -> int:
    """Logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def mean_mhz() -> float | None:
    """Mean frequency of the cores now."""
    found = [int(text) / 1e3 for text in _read_all("cpufreq/scaling_cur_freq")] or list(_from_cpuinfo())
    return round(fmean(found), 1) if found else None


def governors() -> tuple[str, ...]:
    """The cores' frequency governors, each once."""
    return tuple(sorted(set(_read_all("cpufreq/scaling_governor"))))


def loop_ns() -> int:
    """The shortest time of a loop that is always the same: it shows changes of frequency where nothing else does."""
    return min(_once() for _ in range(_REPEATS))


def _once() -> int:
    start = time.perf_counter_ns()
    total = 0
    for number in range(_ROUNDS):
        total += number & 7
    return time.perf_counter_ns() - start


def _read_all(name: str) -> list[str]:
    found = []
    for file in sorted(_CPUS.glob(f"cpu[0-9]*/{name}")):
        try:
            found.append(file.read_text().strip())
        except OSError:
            # A core that is off
            continue
    return found


def _from_cpuinfo() -> Iterator[float]:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "cpu MHz":
            yield float(value)
