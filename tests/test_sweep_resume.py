"""A sweep that is killed at any moment goes on where it was: the same numbers, nothing twice, nothing lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mlexport.documents import read_document
from mlexport.errors import ExportError
from mlexport.recipe import Recipe
from mlexport.sweep import SweepOptions, plan_sweep, run_sweep
from mlexport.swept import DATABASE, DONE, Point, Sweep
from tests.swept import small_recipe

pytestmark = pytest.mark.usefixtures("shared_cache")

BODIES = 4
_LONGEST_WAIT = 240


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Sweep:
    """The sweep without any interruption."""
    return finish(recipe, tmp_path_factory.mktemp("whole"))


def finish(recipe: Path, out: Path) -> Sweep:
    return run_sweep(plan_sweep(read_document(recipe, Recipe)), SweepOptions(out=out))


def start(recipe: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlexport", "sweep", str(recipe), "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def killed_once(child: subprocess.Popen[bytes], seen: Callable[[], bool]) -> None:
    """Kill it as soon as something is seen."""
    until = time.monotonic() + _LONGEST_WAIT
    while not seen():
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.002)
    child.kill()
    assert child.wait() == -signal.SIGKILL


def steps_done(out: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(f"file:{out / DATABASE}?mode=ro", uri=True) as database:
        try:
            return [tuple(row) for row in database.execute("SELECT task, step FROM steps")]
        except sqlite3.OperationalError:
            return []


def runs_noted(out: Path) -> int:
    with sqlite3.connect(f"file:{out / DATABASE}?mode=ro", uri=True) as database:
        try:
            return int(database.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


def numbers(point: Point) -> Point:
    """What must not depend on how often a sweep was killed."""
    return replace(point, seconds=None, run=None)


def test_killed_at_any_moment_it_ends_with_the_same_numbers_and_does_nothing_twice(
    recipe: Path, whole: Sweep, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    references, vectors = out / "work" / "reference", out / "work" / "vectors"

    def files(folder: Path) -> list[Path]:
        return list(folder.glob("*.npz"))

    killed_once(start(recipe, out), (out / DATABASE).exists)
    # This early it may not have noted that it runs
    noted = runs_noted(out)
    # In the middle of the references: one table's is there, the other's is not
    killed_once(start(recipe, out), lambda: len(files(references)) == 1)
    [first] = files(references)
    written = first.stat().st_mtime_ns
    # A body was encoded, its points are not in the file yet
    killed_once(start(recipe, out), lambda: bool(files(vectors)))
    assert first.stat().st_mtime_ns == written
    [encoded] = files(vectors)
    written = encoded.stat().st_mtime_ns
    before = steps_done(out)
    # Some points are in the file, others are not
    killed_once(start(recipe, out), lambda: sum(step == "D64" for _, step in steps_done(out)) == 2)
    middle = steps_done(out)
    assert middle[: len(before)] == before
    found = finish(recipe, out)
    assert [numbers(point) for point in found.points] == [numbers(point) for point in whole.points]
    assert all(point.status == DONE for point in found.points)
    assert found.languages == whole.languages
    # What was in the file before is there once, and was not done again
    counts = Counter((step.task, step.step) for step in found.steps)
    assert set(counts.values()) == {1}
    dims = [step for step in found.steps if step.step in ("D64", "D16")]
    assert len(dims) == 2 * BODIES
    # The body that was encoded before it was killed was not encoded again
    assert sum(step.step == "encode" for step in found.steps) == BODIES - 1
    assert [run.finished is None for run in found.runs] == [True] * (noted + 3) + [False]
    assert not (out / "work").exists()


def test_workers_end_with_the_process_that_started_them(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = start(recipe, out, "--jobs", "2")

    def workers() -> list[psutil.Process]:
        found = psutil.Process(child.pid).children(recursive=True)
        return [one for one in found if "mlexport.sweep.workers" in one.cmdline()]

    seen: list[psutil.Process] = []

    def both() -> bool:
        seen[:] = workers()
        return len(seen) == 2

    killed_once(child, both)
    _, alive = psutil.wait_procs(seen, timeout=60)
    assert not alive


def test_two_processes_do_not_sweep_in_one_folder(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = start(recipe, out)
    while not (out / DATABASE).exists():
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ExportError, match="another run is writing"):
            finish(recipe, out)
    finally:
        os.kill(child.pid, signal.SIGCONT)
        child.kill()
        child.wait()
