"""A sweep of 120 points on the demo against as many separate runs of `slice --eval`: processor time, and the clock's.

    python benchmarks/sweep.py --out benchmarks/results/sweep.json

The grid: every trained depth (5) and dim (6), two precisions, two targets. The sweep is run a depth at a time, each
time widening the grid of the one before (and starting its processes again), in turn with separate runs of that depth:
one for each target, which stands for its 12 points (2 precisions, 6 dims); precision and dim change from depth to
depth. Both sides find the full model's vectors in the cache, where a run before has put them.

Processor time (user and system, of all processes of a command) is what is judged by: other work on the machine
stretches the clock far more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from environment import environment

from mlexport.swept import Point, read_sweep

LAYERS = (1, 2, 4, 8, 12)
DIMS = (8, 16, 32, 64, 128, 256)
PRECISIONS, TARGETS = ("int8", "int4"), ("gguf", "onnx")
# Points that a separate run stands for
EACH = len(PRECISIONS) * len(DIMS)
LIBRARIES = ("mlexport", "llama-cpp-python", "numpy", "onnxruntime", "torch", "transformers")


def measured(arguments: Sequence[str], cache: Path) -> dict[str, Any]:
    """Run `mlexport`; seconds on the clock and of the processor.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "mlexport", *arguments]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"MLEXPORT_CACHE": str(cache)})
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if child.returncode:
        raise SystemExit(f"exit status {child.returncode}: {' '.join(command)}")
    return {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2), "wall_seconds": round(wall, 2)}


def recipe(folder: Path, depths: Sequence[int]) -> Path:
    """The grid of some depths, as a recipe."""
    path = folder / "grid.yaml"
    grid = {"layers": list(depths), "dim": list(DIMS), "precision": list(PRECISIONS)}
    content = {"title": "grid", "whom": "the benchmark", "targets": list(TARGETS), "grid": grid}
    # JSON is YAML
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def separate(number: int, depth: int, target: str, folder: Path, cache: Path) -> dict[str, Any]:
    """One separate run of a depth."""
    turn = number + TARGETS.index(target)
    precision, dim = PRECISIONS[turn % len(PRECISIONS)], DIMS[(2 * turn + 1) % len(DIMS)]
    out = folder / f"L{depth}-D{dim}-{target}-{precision}"
    cut = ["--layers", str(depth), "--dim", str(dim), "--target", target, "--precision", precision]
    taken = measured(["slice", *cut, "--eval", "--out", str(out), "--json"], cache)
    manifest = json.loads((out / "mlexport.json").read_text(encoding="utf-8"))
    [variant] = manifest["variants"]
    return {
        "layers": depth,
        "dim": dim,
        "target": target,
        "precision": variant["precision"],
        "bytes": sum(entry["bytes"] for entry in manifest["files"]),
        "mean_cosine": variant["verification"]["mean_cosine"],
        "retained": variant["retention"]["retained_ndcg"]["value"],
        **taken,
    }


def beside(run: Mapping[str, Any], points: Sequence[Point]) -> dict[str, float]:
    """How far the sweep's numbers of the same cut are from those of a separate run."""
    axes = ("layers", "dim", "target", "precision")
    [point] = [one for one in points if all(getattr(one, axis) == run[axis] for axis in axes)]
    assert point.bytes is not None and point.mean_cosine is not None and point.retained is not None
    return {
        "bytes": point.bytes - run["bytes"],
        "mean_cosine": abs(point.mean_cosine - run["mean_cosine"]),
        "retained": abs(point.retained - run["retained"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    facts = environment(LIBRARIES)
    sweeps, runs = [], []
    with TemporaryDirectory(prefix="mlexport-benchmark-") as work:
        folder, cache = Path(work), Path(work) / "cache"
        # The full model's vectors go into the cache
        measured(["slice", "--layers", "1", "--target", "onnx", "--eval", "--out", str(folder / "first")], cache)
        done: list[int] = []
        for number, depth in enumerate(LAYERS):
            runs += [separate(number, depth, target, folder, cache) for target in TARGETS]
            done.append(depth)
            taken = measured(["sweep", str(recipe(folder, done)), "--out", str(folder / "sweep")], cache)
            sweeps.append({"layers": depth, **taken})
            print(json.dumps({"separate": runs[-2:], "sweep": sweeps[-1]}), flush=True)
        found = read_sweep(folder / "sweep")
        differences = [beside(run, found.points) for run in runs]
    totals = {
        "points": len(found.points),
        "sweep_cpu_seconds": round(sum(one["cpu_seconds"] for one in sweeps), 1),
        "sweep_wall_seconds": round(sum(one["wall_seconds"] for one in sweeps), 1),
        "separate_cpu_seconds_scaled": round(sum(EACH * run["cpu_seconds"] for run in runs), 1),
        "separate_wall_seconds_scaled": round(sum(EACH * run["wall_seconds"] for run in runs), 1),
    }
    totals["cpu_ratio"] = round(totals["sweep_cpu_seconds"] / totals["separate_cpu_seconds_scaled"], 4)
    totals["wall_ratio"] = round(totals["sweep_wall_seconds"] / totals["separate_wall_seconds_scaled"], 4)
    steps: dict[str, float] = {}
    for step in found.steps:
        name = "each dim: write, compare" if step.step.startswith("D") else step.step
        steps[name] = round(steps.get(name, 0) + step.seconds, 1)
    largest = {key: max(abs(one[key]) for one in differences) for key in differences[0]}
    result = {
        "environment": facts,
        "method": " ".join((__doc__ or "").split("\n\n", 2)[2].split()),
        "totals": totals,
        "largest_difference_to_separate_runs": largest,
        "sweep_steps_wall_seconds": steps,
        "sweeps": sweeps,
        "separate_runs": [{**run, "difference": one} for run, one in zip(runs, differences, strict=True)],
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(totals, indent=1))


if __name__ == "__main__":
    main()
