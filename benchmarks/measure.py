"""Seconds and peak memory of a command, measured from a small process of its own.

Linux counts what a process held before `exec` into its peak: a child of a large Python would never seem smaller than
that Python. So a bare interpreter without site-packages starts the command and waits for it.
"""

from __future__ import annotations

import subprocess
import sys

_LAUNCHER = """
import os, sys, time
out = os.dup(1)
null = os.open(os.devnull, os.O_WRONLY)
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - start, usage.ru_maxrss * 1024, file=os.fdopen(out, "w"))
"""


def measure(command: list[str]) -> tuple[float, int]:
    """Seconds and peak resident bytes of a command, the processes it starts included.

    Raises:
        SystemExit: it failed.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
    done = subprocess.run(launcher, stdout=subprocess.PIPE, text=True, check=True)
    code, seconds, peak = done.stdout.split()
    if code != "0":
        raise SystemExit(f"exit status {code}: {' '.join(command)}")
    return float(seconds), int(peak)
