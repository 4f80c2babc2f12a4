"""From a request to a result: children are started for each setting, and take their turns."""

from __future__ import annotations

from mlexport.bench.request import BenchRequest
from mlexport.latency import BenchResult
from mlexport.progress import Progress


def measure(request: BenchRequest, *, progress: Progress | None = None) -> BenchResult:
    """Measure what the request says, on this machine.

    Raises:
        UsageError: a number that makes no sense.
        ArtifactError: not an artifact, a damaged one, or no such variant.
        MissingExtraError: its runtime is not installed.
        MeasureError: a provider is missing, or a run failed.
    """
    raise NotImplementedError  # the next commit
