"""A latency report as data: what files of `mlexport bench` and `estimate` say, joined by device and artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlexport.latency import MEASURED, FigureUsed, Part, Ratio, Subject
from mlexport.percentiles import Times
from mlexport.report.pareto import Point

# A length that most queries and short passages stay below; `mlexport report --tokens` changes it
DEFAULT_TOKENS = 128
DEFAULT_MIN_RETENTION = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that the report was made from.

    Attributes:
        kind: "measured", "estimated" or "sweep".
        trusted: False where a run of it was too noisy; None where nothing was measured.
    """

    file: str
    sha256: str
    kind: str
    tool: str
    created: str
    trusted: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An artifact, or a cut that was not made, under a name that the report has once.

    Attributes:
        number: from 1, in the order of the files; plots call it so.
    """

    number: int
    name: str
    subject: Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A processor that something was measured on, or estimated for.

    Attributes:
        name: the profile's; with the machine where several files measured on different ones under the same profile.
        words: what the shipped profile calls it; empty where there is none of that name.
        unit: "CPU", "GPU", "NPU"; None where neither a profile, its name nor the runtime says.
        where: "here", "ssh://…" or "adb:…"; None where nothing was measured.
        environment: of the measurement; empty where nothing was.
        method: sentences of the files, each once.
        trusted: False where a run was too noisy.
    """

    name: str
    words: str
    unit: str | None
    where: str | None
    environment: Mapping[str, object]
    method: tuple[str, ...]
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A latency: one artifact on one device in one setting.

    Attributes:
        subject: name of a Shown; device: name of a Device.
        kind: "measured" or "estimated".
        provider, threads: None for an estimate.
        ms: the median of what was measured, or the estimate.
        low_ms, high_ms: the estimate's range; the 50th and 99th percentile of what was measured.
        times, tokenise, end_to_end: of the model on ids, of the tokenizer, from text to vector; None without samples.
        tokens_per_s: by the clock, over all streams; of an estimate, from its ms.
        memory_low, memory_high: resident and peak bytes; equal for an estimate; None where unknown.
        nodes: provider -> nodes of the graph that it took.
        remarks: noise of a run; limits of the device that an estimate passes.
        coverage: share of cases of the estimator's check that fell into such a range.
    """

    subject: str
    device: str
    kind: str
    runtime: str
    version: str
    provider: str | None
    threads: int | None
    tokens: int
    batch: int
    streams: int
    ms: float
    low_ms: float
    high_ms: float
    times: Times | None
    tokenise: Times | None
    end_to_end: Times | None
    tokens_per_s: float
    load_ms: float | None
    first_call_ms: float | None
    warm_calls: int | None
    cores_busy: float | None
    memory_low: int | None
    memory_high: int | None
    nodes: Mapping[str, int]
    remarks: tuple[str, ...]
    coverage: float | None
    samples_ns: tuple[int, ...]
    parts: tuple[Part, ...]
    figures: tuple[FigureUsed, ...]

    @property
    def measured(self) -> bool:
        """Whether it was measured, not estimated."""
        return self.kind == MEASURED

    @property
    def single(self) -> bool:
        """Whether it is of one text at a time."""
        return self.batch == 1 and self.streams == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An estimate that was not given, and why."""

    subject: str
    device: str
    runtime: str
    tokens: int
    batch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A ratio of medians of an interleaved run; its subject and base are names of Shown."""

    device: str
    ratio: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The artifact that a device should get.

    Attributes:
        row: its latency, at the device's length of reference.
        text: the recommendation and why, plain sentences.
        others: sentences about the alternatives.
    """

    device: str
    row: Row
    text: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a page, a table or a script is given.

    Attributes:
        tokens: length that the summary speaks of.
        lengths: device -> the length nearest to it of which there is a latency.
        min_retention: share of the full model's nDCG@10 that a recommended artifact keeps.
        front: (device, subject, kind) of the latencies at the length of reference that no other of its device beats
            in time, bytes and retained quality together.
        method: sentences of the files of estimates, each once.
    """

    title: str
    tool: str
    created: str
    tokens: int
    lengths: Mapping[str, int]
    min_retention: float
    sources: tuple[Source, ...]
    subjects: tuple[Shown, ...]
    devices: tuple[Device, ...]
    rows: tuple[Row, ...]
    refused: tuple[Refused, ...]
    compared: tuple[Compared, ...]
    front: frozenset[tuple[str, str, str]]
    choices: tuple[Choice, ...]
    summary: tuple[str, ...]
    warnings: tuple[str, ...]
    method: tuple[str, ...]
    points: tuple[Point, ...]

    def shown(self, name: str) -> Shown:
        """The artifact of that name."""
        return next(one for one in self.subjects if one.name == name)

    def of(self, device: str) -> tuple[Row, ...]:
        """Latencies of a device."""
        return tuple(row for row in self.rows if row.device == device)

    def reference(self, device: str) -> tuple[Row, ...]:
        """One latency an artifact and kind, of one text of the device's length of reference."""
        length = self.lengths.get(device)
        return reference_rows([row for row in self.of(device) if row.tokens == length])


def reference_rows(rows: list[Row]) -> tuple[Row, ...]:
    """The last of each artifact and kind, of one text at a time: a later file replaces an earlier one.

    The fastest artifact first, each measured before estimated.
    """
    found = {(row.subject, row.kind): row for row in rows if row.single}
    # What was measured decides where an artifact stands
    fastest = {row.subject: row.ms for row in sorted(found.values(), key=lambda row: row.measured)}
    return tuple(sorted(found.values(), key=lambda row: (fastest[row.subject], row.subject, not row.measured)))
