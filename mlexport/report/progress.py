"""Progress bars on standard error, silent where that is not a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


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
