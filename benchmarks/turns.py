"""Taking turns: every model in a process of its own, one of them running at a time.

In one process the thread pools of several runtimes disturb each other: ONNX Runtime's threads go on spinning after a
call, on cores that the next model needs (two cores, eight sessions: a product of 4 ms took 60 ms). Here a process
waits on a pipe until it is asked, and a pause lets the last one's threads come to rest.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import peer_models
from numpy.typing import NDArray

# Longer than the threads of any runtime here spin
PAUSE_SECONDS = 0.05
WARM_UP = 2

Ids = NDArray[np.int64]


class Contestant:
    """A model in a process of its own."""

    def __init__(self, kind: str, file: Path, dim: int) -> None:
        command = [sys.executable, __file__, kind, str(file), str(dim)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.load = self._answer()

    def run(self, ids: Ids) -> tuple[float, NDArray[np.float32]]:
        """Milliseconds, and vectors [batch, dim]."""
        self._write(ids.tolist())
        found = self._answer()
        return cast(float, found["ms"]), np.array(found["vectors"], dtype=np.float32)

    def close(self) -> int:
        """End it; its peak resident bytes."""
        self._write(None)
        peak = cast(int, self._answer()["peak_resident_bytes"])
        self.child.wait()
        return peak

    def _write(self, content: object) -> None:
        pipe = cast("IO[str]", self.child.stdin)
        pipe.write(json.dumps(content) + "\n")
        pipe.flush()

    def _answer(self) -> dict[str, object]:
        line = cast("IO[str]", self.child.stdout).readline()
        if not line:
            raise SystemExit(f"a contestant ended with exit status {self.child.wait()}: {self.child.args}")
        return cast("dict[str, object]", json.loads(line))


def take_turns(contestants: Mapping[str, Contestant], texts: Sequence[Ids]) -> dict[str, dict[str, Any]]:
    """Milliseconds and cosine to the first contestant; a round runs every one on one of the texts.

    Args:
        texts: one [batch, tokens] a round, the first rounds to warm up.
    """
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    cosines: dict[str, list[float]] = {name: [] for name in contestants}
    for number, ids in enumerate(texts):
        first: NDArray[np.float32] | None = None
        for name, one in contestants.items():
            time.sleep(PAUSE_SECONDS)
            taken, vectors = one.run(ids)
            first = vectors if first is None else first
            if number >= WARM_UP:
                samples[name].append(taken)
                cosines[name] += (vectors * first).sum(axis=1).tolist()
    return {
        name: {
            "median_ms": round(statistics.median(found), 2),
            "p90_ms": round(float(np.percentile(found, 90)), 2),
            "cosine": round(statistics.fmean(cosines[name]), 6),
            "lowest_cosine": round(min(cosines[name]), 6),
            "samples_ms": [round(value, 2) for value in found],
        }
        for name, found in samples.items()
    }


def serve(kind: str, file: Path, dim: int) -> None:
    """Answer on standard output; `null` is the last question."""
    start = time.perf_counter()
    run = peer_models.KINDS[kind](file, dim)
    print(json.dumps({"load_ms": (time.perf_counter() - start) * 1e3}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if question is None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"peak_resident_bytes": peak}), flush=True)
            return
        ids = np.array(question, dtype=np.int64)
        start = time.perf_counter()
        vectors = run(ids)
        taken = (time.perf_counter() - start) * 1e3
        print(json.dumps({"ms": taken, "vectors": vectors.tolist()}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=peer_models.KINDS)
    parser.add_argument("file", type=Path)
    parser.add_argument("dim", type=int)
    given = parser.parse_args()
    serve(given.kind, given.file, given.dim)
