"""Worker processes of this machine: tasks over their standard input, answers over their standard output, pickled.

A worker ends when its input does, which happens whatever becomes of the process that started it. One that dies costs
no more than its task, which the next one gets.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import IO, cast

from mlexport.errors import MissingExtraError
from mlexport.sweep.executors import ATTEMPTS, Ended, Teller, Told, ended
from mlexport.sweep.tasks import Task

_HEADER = 8


class Workers:
    """So many worker processes."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.workers: list[_Worker] = []

    def run(self, tasks: Sequence[Task], told: Told) -> Iterator[Ended]:
        """Each task as it ends."""
        waiting = deque((task, 1) for task in tasks)
        with selectors.DefaultSelector() as selector:
            self.workers += [_Worker() for _ in range(min(self.jobs, len(tasks)) - len(self.workers))]
            for worker in self.workers:
                selector.register(worker.output, selectors.EVENT_READ, worker)
                worker.give(waiting)
            while any(worker.task for worker in self.workers):
                for key, _ in selector.select():
                    worker = cast(_Worker, key.data)
                    answer = worker.read()
                    if isinstance(answer, int):
                        told(cast(Task, worker.task), answer)
                        continue
                    if answer is None:
                        selector.unregister(worker.output)
                        answer = worker.lost(waiting)
                        self.workers.remove(worker)
                        worker = _Worker()
                        self.workers.append(worker)
                        selector.register(worker.output, selectors.EVENT_READ, worker)
                    worker.task = None
                    # Before the answer is looked at: a worker must not wait for that
                    worker.give(waiting)
                    if isinstance(answer, MissingExtraError):
                        raise answer
                    if isinstance(answer, Ended):
                        yield answer

    def close(self) -> None:
        """End them, whatever they do."""
        for worker in self.workers:
            worker.child.kill()
            worker.child.wait()
        self.workers.clear()


class _Worker:
    """One process, and the task it has."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "mlexport.sweep.workers"]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.output = cast("IO[bytes]", self.child.stdout)
        self.task: Task | None = None
        self.attempt = 0

    def give(self, waiting: deque[tuple[Task, int]]) -> None:
        """Give it the next task, if there is one."""
        if self.task is None and waiting:
            self.task, self.attempt = waiting.popleft()
            # A process that has just died is found out when its answer is read
            with contextlib.suppress(BrokenPipeError):
                _write(cast("IO[bytes]", self.child.stdin), self.task)

    def read(self) -> object:
        """Its next message; None where it died."""
        return _read(self.output)

    def lost(self, waiting: deque[tuple[Task, int]]) -> Ended | None:
        """It died: its task is given to another one, or has ended in an error."""
        code = self.child.wait()
        if self.task is None:
            return None
        if self.attempt < ATTEMPTS:
            waiting.appendleft((self.task, self.attempt + 1))
            return None
        error = f"{ATTEMPTS} workers died over it, the last with exit status {code}: is there memory enough?"
        return Ended(task=self.task, outcome=None, error=error)


def _write(pipe: IO[bytes], message: object) -> None:
    data = pickle.dumps(message)
    view = memoryview(len(data).to_bytes(_HEADER, "little") + data)
    while view:
        view = view[pipe.write(view) :]


def _read(pipe: IO[bytes]) -> object:
    header = _exactly(pipe, _HEADER)
    data = None if header is None else _exactly(pipe, int.from_bytes(header, "little"))
    return None if data is None else pickle.loads(data)


def _exactly(pipe: IO[bytes], count: int) -> bytes | None:
    """So many bytes; None where the pipe ends before."""
    parts: list[bytes] = []
    while count:
        part = pipe.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main() -> None:
    """The worker: tasks until the input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    # What a library prints must not run into the answers
    os.dup2(2, 1)
    tasks: SimpleQueue[Task] = SimpleQueue()

    questions = os.fdopen(0, "rb", buffering=0)

    def listen() -> None:
        while (task := _read(questions)) is not None:
            tasks.put(cast(Task, task))
        # Nobody wants the answer any more
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        task = tasks.get()
        try:
            answer: object = ended(task, Teller(lambda count: _write(answers, count)))
        except MissingExtraError as error:
            answer = error
        except Exception as error:  # noqa: BLE001
            answer = Ended(task=task, outcome=None, error=f"{type(error).__name__}: {error}")
        _write(answers, answer)


if __name__ == "__main__":
    main()
