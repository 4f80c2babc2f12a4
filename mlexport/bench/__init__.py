"""Latency, measured: every artifact in a process of its own, all of them in turn.

    from mlexport import bench

    result = bench.run(["out/a", "out/b"], bench.Choices(tokens=[128], min_calls=30))

`Choices` is what the command line asks, `BenchRequest` what is sent to a machine that measures; `measure` runs one.
"""

from mlexport.bench.measure import measure as measure
from mlexport.bench.request import BenchRequest as BenchRequest
from mlexport.bench.request import Contestant as Contestant
from mlexport.bench.request import Settings as Settings
from mlexport.bench.run import Choices as Choices
from mlexport.bench.run import plan as plan
from mlexport.bench.run import run as run
