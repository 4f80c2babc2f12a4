"""How much memory is free, where the system says so."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """Bytes a process can still take without swapping (Linux's MemAvailable); None where nothing is known."""
    if not _MEMINFO.exists():
        return None
    facts = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
    return int(facts["MemAvailable"].split()[0]) * 1024
