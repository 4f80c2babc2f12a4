"""The same tasks in this process, in workers, on Dask and on Ray; one of two workers is killed, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import distributed
import fsspec
import psutil
import pytest

from mlexport.documents import read_document
from mlexport.errors import MissingExtraError, UsageError
from mlexport.recipe import Recipe
from mlexport.sweep import SweepOptions, plan_sweep, run_sweep
from mlexport.swept import DONE, Point, Sweep
from tests.swept import small_recipe

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Sweep:
    return sweep(recipe, SweepOptions(out=tmp_path_factory.mktemp("inline")))


class KillOne:
    """Progress that kills a worker once the first points are there."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self.kill, self.killed = kill, False

    def begin(self, total: int, points: int, done: int) -> None:
        assert (points, done) == (8, 0)

    def advance(self, work: int) -> None:
        pass

    def points(self, count: int) -> None:
        if not self.killed:
            self.kill()
            self.killed = True


def sweep(recipe: Path, options: SweepOptions, progress: KillOne | None = None) -> Sweep:
    return run_sweep(plan_sweep(read_document(recipe, Recipe)), options, progress)


def numbers(found: Sweep) -> list[Point]:
    assert [(point.label, point.reason) for point in found.points if point.status != DONE] == []
    return [replace(point, seconds=None, artifact=None) for point in found.points]


def kill_child(word: str, *, first: bool = False) -> None:
    """Kill one process below this one that has a word in its command line, or in the first part of it."""
    children = psutil.Process().children(recursive=True)
    found = [one for one in children if any(word in part for part in one.cmdline()[: 1 if first else None])]
    assert found, f"no process has {word}"
    found[0].kill()


def test_workers_one_of_which_is_killed(recipe: Path, inline: Sweep, tmp_path: Path) -> None:
    progress = KillOne(lambda: kill_child("mlexport.sweep.workers"))
    found = sweep(recipe, SweepOptions(out=tmp_path / "out", jobs=2), progress)
    assert progress.killed
    assert numbers(found) == numbers(inline)


def test_a_task_that_kills_its_workers_is_an_error_and_the_others_go_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Worker processes read this file when they start
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'mlexport.sweep.workers' in sys.orig_argv:\n"
        "    import mlexport.sweep.executors as executors\n"
        "    plain = executors.perform\n"
        "    executors.perform = lambda task, progress: (\n"
        "        os._exit(7) if task.name == 'L2-R8 onnx f32' else plain(task, progress))\n"
    )
    import mlexport

    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(mlexport.__file__).parents[1]}")
    found = sweep(recipe, SweepOptions(out=tmp_path / "out", jobs=2))
    lost = [point for point in found.points if point.status != DONE]
    assert {point.spec for point in lost} == {"L2-R8-D64", "L2-R8-D16"}
    reason = "3 workers died over it, the last with exit status 7: is there memory enough?"
    assert {(point.status, point.reason) for point in lost} == {("error", reason)}
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(Path(mlexport.__file__).parents[1]))
    again = sweep(recipe, SweepOptions(out=tmp_path / "out"))
    assert all(point.status == DONE for point in again.points)
    assert {step.task for step in again.steps if step.run == 2} == {"L2-R8 onnx f32"}


def test_dask_at_an_address_one_of_whose_workers_is_killed(recipe: Path, inline: Sweep, tmp_path: Path) -> None:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        victim = next(iter(cluster.workers.values()))
        progress = KillOne(lambda: psutil.Process(victim.pid).kill())
        options = SweepOptions(
            out=tmp_path / "out", executor="dask", address=cluster.scheduler_address, store=f"file://{tmp_path}/store"
        )
        found = sweep(recipe, replace(options, keep=True), progress)
    assert progress.killed
    assert numbers(found) == numbers(inline)
    for point in found.points:
        assert (point.artifact or "").startswith(str(tmp_path / "store" / "artifacts"))
        assert (Path(point.artifact or "") / "mlexport.json").is_file()


def test_dask_that_is_started_here(recipe: Path, inline: Sweep, tmp_path: Path) -> None:
    found = sweep(recipe, SweepOptions(out=tmp_path / "out", executor="dask", jobs=2))
    assert numbers(found) == numbers(inline)
    assert found.runs[0].executor == "dask"


@pytest.mark.slow
def test_ray_one_of_whose_workers_is_killed(recipe: Path, inline: Sweep, tmp_path: Path) -> None:
    # A worker's title is what it runs; Ray's own processes have the word further behind
    progress = KillOne(lambda: kill_child("ray::ended", first=True))
    found = sweep(recipe, SweepOptions(out=tmp_path / "out", executor="ray", jobs=2), progress)
    assert progress.killed
    assert numbers(found) == numbers(inline)


def test_a_store_that_is_no_folder(recipe: Path, inline: Sweep, tmp_path: Path) -> None:
    found = sweep(recipe, SweepOptions(out=tmp_path / "out", store="memory://sweeps/one", keep=True))
    assert numbers(found) == numbers(inline)
    files = fsspec.filesystem("memory")
    [point] = [point for point in found.points if point.spec == "L2-R8-D16"]
    assert point.artifact == "memory://sweeps/one/artifacts/L2-R8-D16-onnx-f32"
    names = {path.rsplit("/", 1)[-1] for path in files.find("/sweeps/one/artifacts/L2-R8-D16-onnx-f32")}
    assert {"mlexport.json", "model.onnx", "tokenizer.json"} <= names
    assert not files.exists("/sweeps/one/work")


def test_what_is_asked_for_must_exist(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="unknown executor 'spark': choose from local, ray, dask"):
        sweep(recipe, SweepOptions(out=tmp_path / "a", executor="spark"))
    with pytest.raises(UsageError, match="--address is for --executor ray or dask"):
        sweep(recipe, SweepOptions(out=tmp_path / "b", address="tcp://127.0.0.1:1"))
    with pytest.raises(UsageError, match="--store nowhere://x: "):
        sweep(recipe, SweepOptions(out=tmp_path / "c", store="nowhere://x"))
    for module in ("mlexport.sweep.on_dask", "mlexport.sweep.on_ray"):
        monkeypatch.setattr(f"{module}.find_spec", lambda _: None)
    for name, library in (("dask", "distributed"), ("ray", "ray")):
        with pytest.raises(MissingExtraError, match=f"--executor {name} needs {library}, which is not installed"):
            sweep(recipe, SweepOptions(out=tmp_path / name, executor=name))
