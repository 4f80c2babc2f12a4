"""The process that runs one model in one setting; started by `child.py`, it answers on its standard output.

It ends when its standard input does: a parent that was killed leaves nothing behind.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from mlexport import runtime
from mlexport.artifact import IDS, read_artifact
from mlexport.bench import jobs, memory, processor
from mlexport.bench.protocol import (
    END_TO_END,
    MODEL,
    TOKENISE,
    Ask,
    Closed,
    Failed,
    Opened,
    Task,
    Turn,
    from_line,
    to_line,
)
from mlexport.bench.workload import compose
from mlexport.errors import MeasureError, MlexportError
from mlexport.runtime import Embedder
from mlexport.runtime.settings import Call, Settings
from mlexport.spec import SubModelSpec, parse_target

# Calls after the first one before any is kept
_WARM_UP = 3


class Contest:
    """A loaded model with its texts, ready to be timed."""

    def __init__(self, task: Task) -> None:
        contestant = task.contestant
        artifact = read_artifact(Path(contestant.artifact))
        manifest = artifact.manifest
        variant = manifest.variant(contestant.variant)
        target, dim = parse_target(manifest.target), SubModelSpec.parse(manifest.spec).dim
        self.base_bytes = memory.held().resident
        runtime.import_libraries(target, variant.takes)
        settings = _filled(contestant.settings, task.streams)
        start = time.perf_counter_ns()
        self.embedder: Embedder = runtime.load(
            target, artifact.folder, variant.model_file, artifact.text, dim, takes=variant.takes, settings=settings
        )
        fixed = self.embedder.fixed_shape
        self.batch = _batch(task, fixed)
        streams = [self.embedder.stream(batch=self.batch, tokens=task.tokens) for _ in range(task.streams)]
        self.load_ns = time.perf_counter_ns() - start
        self.tokenises = variant.takes == IDS
        texts = compose(lambda some: [len(ids) for ids in self.embedder.token_ids(some)], task.tokens)
        groups = [[texts[(place + step) % len(texts)] for step in range(self.batch)] for place in range(len(texts))]
        self.jobs: dict[str, list[jobs.Jobs]] = {
            MODEL: [[stream(group) for group in groups] for stream in streams],
            END_TO_END: [[_end_to_end(stream, group) for group in groups] for stream in streams],
            TOKENISE: [[_tokenise(self.embedder, group) for group in groups]],
        }
        self.notes = _notes(fixed, task, self.batch)
        self.turns = 0
        [self.first_call_ns] = jobs.run(self.jobs[MODEL][:1], 1, 0).samples_ns
        self.warm_calls = len(jobs.run(self.jobs[MODEL], _WARM_UP * task.streams, 0, 1).samples_ns)

    def turn(self, ask: Ask) -> Turn:
        """Time calls of a kind; the first of each thread is not kept: caches and threads wake up in it."""
        threads = self.jobs[ask.kind]
        loop = processor.loop_ns()
        warm = jobs.run(threads, len(threads), 0, self.turns)
        before = processor.ticks()
        timed = jobs.run(threads, ask.calls, ask.seconds, self.turns + 1)
        cores, steal, others = _meanwhile(before, processor.ticks(), timed.cpu_ns)
        # The next turn begins where this one ended, so that all texts are used alike
        self.turns += 1 + len(timed.samples_ns) // len(threads)
        return Turn(
            samples_ns=timed.samples_ns,
            wall_ns=timed.wall_ns,
            cpu_ns=timed.cpu_ns,
            warm_calls=len(warm.samples_ns),
            cores_ns=cores,
            steal_ns=steal,
            others_ns=others,
            mhz=processor.mean_mhz(),
            loop_ns=loop,
        )

    def opened(self) -> Opened:
        """What is known after loading."""
        return Opened(
            batch=self.batch,
            base_bytes=self.base_bytes,
            load_ns=self.load_ns,
            first_call_ns=self.first_call_ns,
            warm_calls=self.warm_calls,
            tokenises=self.tokenises,
            notes=self.notes,
        )

    def closed(self) -> Closed:
        """What is known in the end; memory first, since asking a runtime about its nodes may take some."""
        held = memory.held()
        return Closed(engine=self.embedder.engine(), resident_bytes=held.resident, peak_bytes=held.peak)


def serve(lines: Iterator[str], out: IO[str]) -> int:
    """Answer until the work is done; the exit code."""
    try:
        task = from_line(next(lines), Task)
        assert isinstance(task, Task)
        contest = Contest(task)
        _answer(out, contest.opened())
        for line in lines:
            ask = from_line(line, Ask)
            assert isinstance(ask, Ask)
            if not ask.calls:
                break
            _answer(out, contest.turn(ask))
        _answer(out, contest.closed())
    except MlexportError as error:
        _answer(out, Failed(error=type(error).__name__, message=str(error)))
        return error.exit_code
    return 0


def _filled(settings: Settings, streams: int) -> Settings:
    """Settings with the threads that every runtime gets alike: its own default differs from another's."""
    return replace(settings, threads=settings.threads or processor.usable_cores(), streams=streams)


def _batch(task: Task, fixed: tuple[int, int] | None) -> int:
    """Texts in a call.

    Raises:
        MeasureError: the graph has another size.
    """
    if fixed is None:
        return task.batch or 1
    batch, tokens = fixed
    folder = task.contestant.shown or task.contestant.artifact
    if task.batch not in (None, batch):
        raise MeasureError(f"{folder} is static: it runs {batch} texts at a time, not {task.batch}. Leave --batch out")
    if task.tokens > tokens:
        raise MeasureError(f"{folder} is static: it runs {tokens} tokens, not {task.tokens}")
    return batch


def _notes(fixed: tuple[int, int] | None, task: Task, batch: int) -> tuple[str, ...]:
    folder = task.contestant.shown or task.contestant.artifact
    if fixed is None:
        return ()
    return (f"{folder} is static: {batch} texts at a time, each padded to {fixed[1]} tokens.",)


def _end_to_end(stream: Callable[[Sequence[str]], Call], texts: Sequence[str]) -> Callable[[], object]:
    def call() -> object:
        bound = stream(texts)
        return bound()

    return call


def _tokenise(embedder: Embedder, texts: Sequence[str]) -> Callable[[], object]:
    return partial(embedder.token_ids, texts)


def _meanwhile(
    before: processor.Ticks | None, after: processor.Ticks | None, cpu_ns: int
) -> tuple[int | None, int, int]:
    """Time of all cores, what of it the hypervisor took, and what others were busy with: see Turn."""
    if before is None or after is None:
        return None, 0, 0
    tick = processor.tick_ns()
    others = (after.busy - before.busy) * tick - cpu_ns
    return (after.total - before.total) * tick, (after.steal - before.steal) * tick, others


def _answer(out: IO[str], message: object) -> None:
    out.write(to_line(message))
    out.flush()


def _lines() -> Iterator[str]:
    """Lines of standard input; where that ends, so does this process, whatever it is doing."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        kept = b""
        # Not through sys.stdin: a thread that holds its lock would keep the interpreter from ending
        while part := os.read(0, 1 << 16):
            *whole, kept = (kept + part).split(b"\n")
            for line in whole:
                lines.put(line.decode())
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def main() -> int:
    """Keep standard output for the answers: libraries that print go to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return serve(_lines(), out)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Without waiting for threads of runtimes, or for the reader
    os._exit(code)
