"""What the process that runs a model is asked and answers: lines of JSON on its standard input and output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar, cast

from mlexport.bench.request import Contestant
from mlexport.decode import decode
from mlexport.latency import Engine

# Kinds of turn: the model on ids, text to vector, text to ids
MODEL, END_TO_END, TOKENISE = "model", "end to end", "tokenise"

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The first line: what to open and which texts to make; it is answered by Opened.

    Attributes:
        batch: None takes the size that a static graph has, else 1.
    """

    contestant: Contestant
    tokens: int
    batch: int | None
    streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The model is loaded, and its first calls are done; attributes as of latency.Run.

    base_bytes: resident before the runtime was imported.
    tokenises: whether text becomes ids apart from the model.
    notes: facts about this model for the result's method.
    """

    batch: int
    base_bytes: int
    load_ns: int
    first_call_ns: int
    warm_calls: int
    tokenises: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A turn, answered by Turn; without one (`calls` 0) the process answers Closed and ends.

    calls, seconds: both are met.
    """

    kind: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn's times, and what else went on meanwhile.

    Attributes:
        samples_ns: in the order in which the calls ended.
        wall_ns, cpu_ns: around them.
        warm_calls: calls before them that were not kept.
        cores_ns: time of all cores during the turn; None where the system does not say.
        steal_ns, others_ns: what of it the hypervisor took, and other processes with the kernel. The kernel counts in
            ticks: only their sums over some turns mean something, and one may be below zero.
        mhz: mean frequency of the cores after the turn; None where the system does not say.
        loop_ns: time of a loop that is always the same, right before the turn: how fast the processor was.
    """

    samples_ns: tuple[int, ...]
    wall_ns: int
    cpu_ns: int
    warm_calls: int
    cores_ns: int | None
    steal_ns: int
    others_ns: int
    mhz: float | None
    loop_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What is known in the end; attributes as of latency.Run."""

    engine: Engine
    resident_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Instead of any answer: name of a class of mlexport.errors, and its message."""

    error: str
    message: str


def to_line(message: object) -> str:
    """A message as a line."""
    return json.dumps({"is": type(message).__name__, "it": asdict(message)}, ensure_ascii=False) + "\n"  # type: ignore[call-overload]


def from_line(line: str, kind: type[Message]) -> Message | Failed:
    """A line as a message of that kind, or as the failure that came instead."""
    data = cast(Mapping[str, object], json.loads(line))
    chosen: type = Failed if data["is"] == Failed.__name__ else kind
    return cast("Message | Failed", decode(chosen, data["it"], ""))
