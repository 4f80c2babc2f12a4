"""Progress bars on standard error, silent where that is not a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bars:
    """One bar a step; use it in a `with` block. It fits `mlexport.progress.Progress`.

    Args:
        still: draw when something was done and at no other time, so that drawing takes no time from what is measured.
    """

    def __init__(self, *, still: bool = False) -> None:
        console = Console(stderr=True)
        self._still = still
        columns = (TextColumn("{task.description:<10}"), BarColumn(), TimeElapsedColumn())
        self._bars = Progress(
            *columns, console=console, transient=True, auto_refresh=not still, disable=not console.is_terminal
        )
        self._current: TaskID | None = None

    def step(self, name: str, total: int | None) -> None:
        """Begin a bar; the one before is full."""
        self._finish()
        self._current = self._bars.add_task(name, total=total)
        self._draw()

    def advance(self, count: int) -> None:
        """Move the current bar on."""
        if self._current is not None:
            self._bars.advance(self._current, count)
            self._draw()

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def _draw(self) -> None:
        if self._still:
            self._bars.refresh()

    def _finish(self) -> None:
        if self._current is not None:
            self._bars.update(self._current, total=1, completed=1)


class SweepBar:
    """One bar for a whole sweep, with the points that are done and the time left; use it in a `with` block.

    It fits `mlexport.sweep.run.SweepProgress`.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.fields[done]} of {task.fields[points]} points"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        # Bodies of a sweep differ: the speed is that of all its time, not of the last half minute
        self._bars = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=86400
        )
        self._task: TaskID | None = None
        self._done = 0

    def begin(self, total: int, points: int, done: int) -> None:
        """So much work is left, for all but `done` of so many points."""
        self._done = done
        self._task = self._bars.add_task("sweep", total=total, points=points, done=done)

    def advance(self, work: int) -> None:
        """So much of it is done."""
        if self._task is not None:
            self._bars.advance(self._task, work)

    def points(self, count: int) -> None:
        """So many more points are done."""
        self._done += count
        if self._task is not None:
            self._bars.update(self._task, done=self._done)

    def __enter__(self) -> SweepBar:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()
