"""A sweep of 120 points on the demo against as many separate runs of `slice --eval`: processor time, and the clock's.

    python benchmarks/sweep.py --work out/benchmark --out benchmarks/results/sweep.json

The grid, for ONNX: every trained depth (5) and dim (6), the stored table and rank 64, int8 and int4. It is swept a
depth at a time, each time widening the grid of the one before (and starting every process again), in turn with separate
runs of that depth: one for each rank, which stands for its 12 points (2 precisions, 6 dims); precision and dim change
from run to run. Both sides find the full model's vectors in the cache, where an earlier run has put them. What is
measured is kept after each command, and --commands ends it after so many: it goes on from there.

Processor time (user and system, of all processes of a command) is what is judged by: other work on the machine
stretches the clock far more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from environment import environment

from mlexport.swept import Point, read_sweep

LAYERS = (1, 2, 4, 8, 12)
DIMS = (8, 16, 32, 64, 128, 256)
RANKS, PRECISIONS, TARGET = (None, 64), ("int8", "int4"), "onnx"
# Points that a separate run stands for
EACH = len(PRECISIONS) * len(DIMS)
LIBRARIES = ("mlexport", "numpy", "onnxruntime", "torch", "transformers")


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
    grid = {"layers": list(depths), "rank": list(RANKS), "dim": list(DIMS), "precision": list(PRECISIONS)}
    content = {"title": "grid", "whom": "the benchmark", "targets": [TARGET], "grid": grid}
    # JSON is YAML
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def separate(number: int, depth: int, rank: int | None, folder: Path, cache: Path) -> dict[str, Any]:
    """One separate run of a depth and a rank."""
    turn = number + RANKS.index(rank)
    precision, dim = PRECISIONS[turn % len(PRECISIONS)], DIMS[(2 * turn + 1) % len(DIMS)]
    out = folder / f"L{depth}-R{rank}-D{dim}-{precision}"
    cut = ["--layers", str(depth), "--dim", str(dim), *([] if rank is None else ["--rank", str(rank)])]
    how = ["--target", TARGET, "--precision", precision, "--eval", "--out", str(out), "--json", "--force"]
    taken = measured(["slice", *cut, *how], cache)
    manifest = json.loads((out / "mlexport.json").read_text(encoding="utf-8"))
    [variant] = manifest["variants"]
    return {
        "layers": depth,
        "rank": rank,
        "dim": dim,
        "precision": variant["precision"],
        "bytes": sum(entry["bytes"] for entry in manifest["files"]),
        "mean_cosine": variant["verification"]["mean_cosine"],
        "retained": variant["retention"]["retained_ndcg"]["value"],
        **taken,
    }


def swept(number: int, folder: Path, cache: Path) -> dict[str, Any]:
    """The sweep, widened by a depth; one that was stopped in between does not count, and is taken back."""
    out, before = folder / "sweep", folder / "sweep-before"
    shutil.rmtree(out, ignore_errors=True)
    if before.exists():
        shutil.copytree(before, out)
    taken = measured(["sweep", str(recipe(folder, LAYERS[: number + 1])), "--out", str(out)], cache)
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(out, before)
    return {"layers": LAYERS[number]} | taken


def beside(run: Mapping[str, Any], points: Sequence[Point]) -> dict[str, float]:
    """How far the sweep's numbers of the same cut are from those of a separate run."""
    axes = ("layers", "rank", "dim", "precision")
    [point] = [one for one in points if all(getattr(one, axis) == run[axis] for axis in axes)]
    assert point.bytes is not None and point.mean_cosine is not None and point.retained is not None
    return {
        "bytes": point.bytes - run["bytes"],
        "mean_cosine": abs(point.mean_cosine - run["mean_cosine"]),
        "retained": abs(point.retained - run["retained"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--commands", type=int)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    folder, cache, notes = given.work, given.work / "cache", given.work / "samples.json"
    if not notes.exists():
        # The full model's vectors go into the cache
        measured(
            ["slice", "--layers", "1", "--target", TARGET, "--eval", "--out", str(folder / "first"), "--force"], cache
        )
        notes.write_text("{}")
    samples = json.loads(notes.read_text())
    for name, take in list(commands(folder, cache))[len(samples) :][: given.commands]:
        samples[name] = take()
        notes.write_text(json.dumps(samples))
        print(json.dumps({name: samples[name]}), flush=True)
    if len(samples) == len(LAYERS) * (len(RANKS) + 1):
        write(samples, folder, given.out)


def commands(folder: Path, cache: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """What is measured, in turn."""
    for number, depth in enumerate(LAYERS):
        for rank in RANKS:
            yield f"separate L{depth} R{rank}", partial(separate, number, depth, rank, folder, cache)
        yield f"sweep L{depth}", partial(swept, number, folder, cache)


def write(samples: Mapping[str, Mapping[str, Any]], folder: Path, out: Path) -> None:
    """The result, with totals and how far the two sides' numbers are apart."""
    sweeps = [sample for name, sample in samples.items() if name.startswith("sweep")]
    runs = [sample for name, sample in samples.items() if name.startswith("separate")]
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
        "environment": environment(LIBRARIES),
        "method": " ".join((__doc__ or "").split("\n\n", 2)[2].split()),
        "totals": totals,
        "largest_difference_to_separate_runs": largest,
        "sweep_steps_wall_seconds": steps,
        "sweeps": sweeps,
        "separate_runs": [{**run, "difference": one} for run, one in zip(runs, differences, strict=True)],
    }
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(totals, indent=1))


if __name__ == "__main__":
    main()
