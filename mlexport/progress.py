"""Steps of a long call: timed, and told to whoever shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

from mlexport.results import Step


class Progress(Protocol):
    """What long calls report to, such as a progress bar."""

    def step(self, name: str, total: int | None) -> None:
        """A step begins; `advance` will sum to `total` where that is known."""

    def advance(self, count: int) -> None:
        """So many bytes or texts more are done."""


class Silent:
    """Progress that nobody sees."""

    def step(self, name: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""


class Steps:
    """Times the steps of a call, tells them to its progress, and knows which are done."""

    def __init__(self, progress: Progress | None, done: Sequence[Step] = ()) -> None:
        self.progress = progress or Silent()
        self.done = list(done)

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[None]:
        """Time a step; one that fails is not among those done."""
        self.progress.step(name, total)
        start = perf_counter()
        yield
        self.done.append(Step(name=name, seconds=perf_counter() - start))
