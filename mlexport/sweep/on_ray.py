"""Tasks on Ray: a cluster at an address, or one that is started here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from mlexport.errors import MissingExtraError, UsageError, missing_extra
from mlexport.sweep.executors import ATTEMPTS, Ended, Told, ended
from mlexport.sweep.tasks import Task


class Engine:
    """A connection; the cluster goes with it where it was started here."""

    def __init__(self, *, jobs: int, address: str | None) -> None:
        if find_spec("ray") is None:
            raise missing_extra("ray", "ray", "--executor ray")
        import ray  # noqa: PLC0415

        try:
            if address is None:
                ray.init(num_cpus=jobs, include_dashboard=False, log_to_driver=False, configure_logging=False)
            else:
                ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError) as error:
            raise UsageError(f"--address {address}: no Ray answers ({' '.join(str(error).split())})") from None

    def run(self, tasks: Sequence[Task], told: Told) -> Iterator[Ended]:
        """Each task as it ends; Ray gives those of a lost worker to another one."""
        import ray  # noqa: PLC0415
        from ray.exceptions import RayError  # noqa: PLC0415

        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(ended)
        waiting = {remote.remote(task, None): task for task in tasks}
        while waiting:
            [done], _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(done)
            try:
                yield ray.get(done)
            except MissingExtraError:
                raise
            except RayError as error:
                yield Ended(task=task, outcome=None, error=f"{type(error).__name__}: {str(error).splitlines()[0]}")

    def close(self) -> None:
        """Leave the cluster, and end it where it was started here."""
        import ray  # noqa: PLC0415

        ray.shutdown()
