"""A sweep from its plan to its file: what is missing is done, in any order, by whatever executor."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol, cast

from mlexport.commit import locked
from mlexport.errors import EvaluationError, ExportError, UsageError
from mlexport.evaluate.beir import BUILTIN
from mlexport.runtime import require_libraries
from mlexport.spec import parse_target
from mlexport.sweep import state as states
from mlexport.sweep.body import vectors_name
from mlexport.sweep.executors import LOCAL, Ended, Executor, open_executor
from mlexport.sweep.latencies import latencies_of
from mlexport.sweep.plan import PlannedCut, SweepPlan, base_request, bodies_of, sha256_of
from mlexport.sweep.shared import WORK, data_of
from mlexport.sweep.state import State
from mlexport.sweep.store import open_store
from mlexport.sweep.table_file import PARQUET, write_parquet
from mlexport.sweep.tasks import BodyTask, FullTask, ReferenceTask, Settings, Task
from mlexport.swept import ERROR, Sweep, read_sweep

_LIBRARIES = (
    "mlexport",
    "gguf",
    "llama-cpp-python",
    "numpy",
    "onnxruntime",
    "openvino",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)
# A text's cost beside its layers, in layers; and how long a layer takes in each runtime, roughly, for the time left
_OTHER_LAYERS = 2
_SLOWNESS = {"gguf": 4, "hf": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Where a sweep goes, and who does it.

    Attributes:
        out: folder of its file; a sweep that lies there is gone on with.
        jobs: processes of this machine.
        executor: "local", "ray" or "dask"; `address` of an engine that runs already.
        store: URL or folder for artifacts and what tasks share; None is `out`.
        keep: artifacts stay in the store.
        force: start over.
    """

    out: Path
    jobs: int = 1
    executor: str = LOCAL
    address: str | None = None
    store: str | None = None
    keep: bool = False
    force: bool = False


class SweepProgress(Protocol):
    """What a sweep reports to."""

    def begin(self, total: int, points: int, done: int) -> None:
        """So much work is left, in units of its own, for all but `done` of so many points."""

    def advance(self, work: int) -> None:
        """So much of it is done."""

    def points(self, count: int) -> None:
        """So many more points are done."""


def run_sweep(plan: SweepPlan, options: SweepOptions, progress: SweepProgress | None = None) -> Sweep:
    """Do what is missing of a sweep, and read its file.

    Each task's results are in the file as soon as it ends; a process that is killed loses what its tasks were at.

    Raises:
        UsageError: `out` holds another sweep; an executor or a store that does not exist.
        ExportError: another process sweeps there.
        MissingExtraError: a runtime, torch, or the executor is not installed.
        EvaluationError: the full model or the references cannot be computed.
    """
    if options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: the least is 1")
    _require_targets(plan)
    out = options.out.resolve()
    _make(out)
    with locked(out):
        if options.force:
            states.remove(out)
        settings = _settings(plan, options, out)
        store = open_store(settings.store)
        if options.force:
            store.remove(WORK)
        with State(out) as state:
            state.begin(plan, executor=options.executor, jobs=options.jobs, environment=_environment())
            missing = state.pending(plan.possible, keep=options.keep)
            if missing:
                with closing(open_executor(options.executor, jobs=options.jobs, address=options.address)) as executor:
                    _Run(plan, settings, state, executor, progress).do(missing)
            state.put_latencies(latencies_of(plan, state.points()))
            state.finish()
            if all(point.status != ERROR for point in state.points()):
                store.remove(WORK)
        found = read_sweep(out)
        write_parquet(found, out / PARQUET)
    return found


class _Run:
    """One run's tasks."""

    def __init__(
        self, plan: SweepPlan, settings: Settings, state: State, executor: Executor, progress: SweepProgress | None
    ) -> None:
        self.plan, self.settings, self.state = plan, settings, state
        self.executor, self.progress = executor, progress
        self.told: dict[str, int] = {}
        self.texts = 0

    def do(self, missing: Sequence[PlannedCut]) -> None:
        """References first, then every body."""
        bodies = bodies_of(missing)
        # Of the whole grid, not of what is left: a reference that is there must be found again
        depths = tuple(sorted({one.cut.layers for one in self.plan.possible}))
        tasks = [
            BodyTask(settings=self.settings, cuts=tuple(one.cut for one in body), depths=depths) for body in bodies
        ]
        tables = tuple(dict.fromkeys(task.cuts[0].pair for task in tasks))
        self._begin(tasks)
        first: list[Task] = [ReferenceTask(settings=self.settings, tables=tables, depths=depths)]
        if self.settings.retention:
            first.append(FullTask(settings=self.settings))
        for one in self.executor.run(first, lambda *_: None):
            if one.outcome is None:
                raise EvaluationError(f"{one.task.name}: {one.error}")
            self.state.put(one.task.name, one.outcome.steps)
        for one in self.executor.run(tasks, self._tell):
            self._ended(one)

    def _ended(self, ended: Ended) -> None:
        task, outcome = cast(BodyTask, ended.task), ended.outcome
        if outcome is not None:
            self.state.put(task.name, outcome.steps, outcome.measured)
        else:
            self.state.fail(task.cuts, ended.error or "no reason given")
        open_store(self.settings.store).remove(vectors_name(task))
        self._advance(max(0, _cost(task, self.texts) - self.told.pop(task.name, 0)))
        if self.progress is not None:
            self.progress.points(len(task.cuts) * len(self.plan.profiles))

    def _begin(self, tasks: Sequence[BodyTask]) -> None:
        if self.settings.retention:
            data = data_of(self.settings)
            self.texts = len(data.documents) + len(data.queries)
        if self.progress is None:
            return
        total = sum(_cost(task, self.texts) for task in tasks)
        points = len(self.plan.cuts) * len(self.plan.profiles)
        left = sum(len(task.cuts) for task in tasks) * len(self.plan.profiles)
        self.progress.begin(total, points, points - left)

    def _tell(self, task: Task, texts: int) -> None:
        assert isinstance(task, BodyTask)
        work = texts * _layer_cost(task)
        self.told[task.name] = self.told.get(task.name, 0) + work
        self._advance(work)

    def _advance(self, work: int) -> None:
        if self.progress is not None and work:
            self.progress.advance(work)


def _layer_cost(task: BodyTask) -> int:
    cut = task.cuts[0]
    return (cut.layers + _OTHER_LAYERS) * _SLOWNESS.get(cut.target, 1)


def _cost(task: BodyTask, texts: int) -> int:
    """Work of a body; writing and comparing each dim is worth some hundred texts."""
    return (texts + 300 * len(task.cuts)) * _layer_cost(task)


def _settings(plan: SweepPlan, options: SweepOptions, out: Path) -> Settings:
    asked = plan.recipe.evaluation
    # A sweep without it says little; a recipe that says "retention: false" means it
    retention = asked.retention or "retention" not in asked.model_fields_set
    return Settings(
        request=base_request(plan.recipe),
        verify=asked.verify,
        retention=retention,
        data=asked.data or BUILTIN,
        sample=asked.sample,
        keep=options.keep,
        store=options.store or str(out),
        identity=sha256_of(plan.identity)[:16],
    )


def _require_targets(plan: SweepPlan) -> None:
    """Refuse before anything is done what a library is missing for."""
    for target in sorted({one.cut.target for one in plan.possible}):
        require_libraries(parse_target(target))


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror}. Choose another --out") from None


def _environment() -> dict[str, object]:
    """What numbers depend on: machine and versions."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "python": platform.python_version(),
        **dict(_versions(_LIBRARIES)),
    }


def _versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
