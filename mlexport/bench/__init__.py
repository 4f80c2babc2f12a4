"""Latency, measured: every contestant in a process of its own, all of them in turn."""

from mlexport.bench.request import BenchRequest as BenchRequest
from mlexport.bench.request import Contestant as Contestant
from mlexport.bench.request import Settings as Settings
