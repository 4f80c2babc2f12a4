"""Who does the tasks: this process, workers of this machine, or an engine that is there: Ray, Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from mlexport.errors import MissingExtraError, MlexportError, UsageError
from mlexport.progress import Progress
from mlexport.sweep.perform import perform
from mlexport.sweep.tasks import Outcome, Task

LOCAL = "local"
_MODULES: Mapping[str, str] = {"ray": "ray", "dask": "dask"}
# A task whose worker was lost is given to another one; a task that keeps losing them is at fault itself
ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A task that ended: its outcome, or why there is none."""

    task: Task
    outcome: Outcome | None
    error: str | None


Told = Callable[[Task, int], None]


class Executor(Protocol):
    """Runs tasks that do not depend on each other."""

    def run(self, tasks: Sequence[Task], told: Told) -> Iterator[Ended]:
        """Each task as it ends, in any order.

        Args:
            told: called with a task and how many more texts it has encoded, where that is known.

        Raises:
            MissingExtraError: a library is not installed: no other task would fare better.
        """

    def close(self) -> None:
        """Stop what was started."""


def open_executor(name: str, *, jobs: int, address: str | None) -> Executor:
    """The executor of a name.

    Args:
        jobs: worker processes that are started here; an engine at an address has its own.
        address: of an engine that runs already.

    Raises:
        UsageError: no such executor.
        MissingExtraError: it is not installed.
    """
    if name == LOCAL:
        if address is not None:
            raise UsageError("--address is for --executor ray or dask: leave it out, or name one")
        from mlexport.sweep.workers import Workers  # noqa: PLC0415

        return Inline() if jobs == 1 else Workers(jobs)
    if name not in _MODULES:
        raise UsageError(f"unknown executor '{name}': choose from {', '.join([LOCAL, *_MODULES])}")
    module = import_module(f"mlexport.sweep.on_{_MODULES[name]}")
    return cast(Executor, module.Engine(jobs=jobs, address=address))


class Inline:
    """One task after the other, in this process."""

    def run(self, tasks: Sequence[Task], told: Told) -> Iterator[Ended]:
        """Each task as it ends."""
        for task in tasks:
            yield ended(task, Teller(lambda count, task=task: told(task, count)))  # type: ignore[misc]

    def close(self) -> None:
        """Nothing was started."""


class Teller:
    """Progress that passes on how many texts are encoded, and nothing of other steps."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told, self._encoding = told, False

    def step(self, name: str, total: int | None) -> None:
        """A step begins."""
        self._encoding = name == "encode"

    def advance(self, count: int) -> None:
        """So many more."""
        if self._encoding:
            self._told(count)


def ended(task: Task, progress: Progress | None) -> Ended:
    """Do a task here.

    Raises:
        MissingExtraError: a library is not installed.
    """
    try:
        return Ended(task=task, outcome=perform(task, progress), error=None)
    except MissingExtraError:
        raise
    except MlexportError as error:
        return Ended(task=task, outcome=None, error=str(error))
