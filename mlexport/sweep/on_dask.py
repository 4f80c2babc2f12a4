"""Tasks on Dask: a cluster at an address, or one that is started here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from mlexport.errors import MissingExtraError, UsageError, missing_extra
from mlexport.sweep.executors import ATTEMPTS, Ended, Told, ended
from mlexport.sweep.tasks import Task


class Engine:
    """A client; the cluster goes with it where it was started here."""

    def __init__(self, *, jobs: int, address: str | None) -> None:
        if find_spec("distributed") is None:
            raise missing_extra("distributed", "dask", "--executor dask")
        import distributed  # noqa: PLC0415

        self.cluster: distributed.LocalCluster | None = None
        if address is None:
            # A thread each: runtimes have threads of their own
            self.cluster = distributed.LocalCluster(
                n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None
            )
        try:
            self.client = distributed.Client(address or self.cluster, timeout="20s")
        except (OSError, ValueError) as error:
            raise UsageError(f"--address {address}: no Dask scheduler answers ({error})") from None

    def run(self, tasks: Sequence[Task], told: Told) -> Iterator[Ended]:
        """Each task as it ends; Dask gives those of a lost worker to another one."""
        import distributed  # noqa: PLC0415

        futures = {
            # The costliest come first and should start first; a task's name is its own: nothing is taken from memory
            self.client.submit(ended, task, None, pure=False, priority=-place, retries=ATTEMPTS - 1): task
            for place, task in enumerate(tasks)
        }
        for future in distributed.as_completed(list(futures)):
            task = futures[future]
            error = future.exception()
            if isinstance(error, MissingExtraError):
                raise error
            if error is None:
                yield future.result()
            else:
                yield Ended(task=task, outcome=None, error=f"{type(error).__name__}: {error}")
            future.release()

    def close(self) -> None:
        """Leave the cluster, and end it where it was started here."""
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()
