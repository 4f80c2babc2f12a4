"""Latency, measured: every artifact in a process of its own, all of them in turn.

    from mlexport import bench

    result = bench.run(["out/a", "out/b"], bench.Choices(tokens=[128], min_calls=30))

`Choices` is what the command line asks, `BenchRequest` what is sent to a machine that measures; `measure` runs one.
Names are imported when they are first used: the process that runs a model holds no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlexport.bench.choices import Choices, plan, run
    from mlexport.bench.measuring import measure
    from mlexport.bench.request import BenchRequest, Contestant
    from mlexport.runtime.settings import Settings

_PLACES = {
    "BenchRequest": "mlexport.bench.request",
    "Choices": "mlexport.bench.choices",
    "Contestant": "mlexport.bench.request",
    "Settings": "mlexport.runtime.settings",
    "measure": "mlexport.bench.measuring",
    "plan": "mlexport.bench.choices",
    "run": "mlexport.bench.choices",
}

__all__ = ["BenchRequest", "Choices", "Contestant", "Settings", "measure", "plan", "run"]


def __getattr__(name: str) -> object:
    """A public name, from its module (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'mlexport.bench' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
