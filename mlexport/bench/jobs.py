"""Calls from one thread, or from several at once, each timed."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# What one thread calls, in turn and again from the start
Jobs = Sequence[Callable[[], object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Times of calls, in the order in which they ended, and around all of them."""

    samples_ns: tuple[int, ...]
    wall_ns: int
    cpu_ns: int


def run(threads: Sequence[Jobs], calls: int, seconds: float, first: int = 0) -> Timed:
    """Call until both `calls` and `seconds` are met.

    Args:
        threads: the jobs of each thread; a single one runs in this thread.
        calls: of all threads together.
        first: which of its jobs a thread begins with.
    """
    samples: list[int] = []
    failures: list[Exception] = []
    # A collection of garbage in the midst of a call would count as its time
    gc.collect()
    gc.disable()
    try:
        cpu, start = time.process_time_ns(), time.perf_counter_ns()
        end = start + int(seconds * 1e9)
        if len(threads) == 1:
            _call(threads[0], samples, calls, end, first)
        else:
            failures = _together(threads, samples, calls, end, first)
        wall, cpu = time.perf_counter_ns() - start, time.process_time_ns() - cpu
    finally:
        gc.enable()
    if failures:
        raise failures[0]
    return Timed(samples_ns=tuple(samples), wall_ns=wall, cpu_ns=cpu)


def _call(jobs: Jobs, samples: list[int], calls: int, end: int, first: int) -> None:
    number = first
    # Appending is atomic, so threads share the list; the calls that are under way when the count is met also count
    while len(samples) < calls or time.perf_counter_ns() < end:
        job = jobs[number % len(jobs)]
        start = time.perf_counter_ns()
        job()
        samples.append(time.perf_counter_ns() - start)
        number += 1


def _together(threads: Sequence[Jobs], samples: list[int], calls: int, end: int, first: int) -> list[Exception]:
    """What failed in a thread."""
    failures: list[Exception] = []

    def work(place: int) -> None:
        try:
            _call(threads[place], samples, calls, end, first + place)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            failures.append(error)

    started = [threading.Thread(target=work, args=(place,)) for place in range(len(threads))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return failures
