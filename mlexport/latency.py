"""Latencies as data: what was measured, what was estimated; read and written as JSON.

Both kinds of file say which they are in their first key. A time is in nanoseconds where it was measured, in
milliseconds where it was estimated: an estimate has no more digits than that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from mlexport.decode import decode, read_object
from mlexport.errors import ExportError, UsageError

FORMAT_VERSION = 1
MEASURED, ESTIMATED = "measured", "estimated"
# Checks of the estimator: this machine's runtimes calibrated, and published latencies with one of them left out
CALIBRATED, PUBLISHED = "calibrated", "published"
# Raw samples of a hundred settings are some MB
_LIMIT_BYTES = 2**28


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was run, or would be.

    Attributes:
        name: short and unique in its file, such as "L8-D128 onnx int8" or the artifact's folder name with them.
        artifact: folder as given; None for a cut that was not made.
        model, spec, target, variant, precision: as in the manifest.
        sha256: of the model file; None for a cut that was not made.
        bytes: what a user ships: model, tokenizer, manifest.
        cosine: mean cosine to the reference as verified; None where it was not.
        retained: share of the full model's nDCG@10, as `slice --eval` measured it; None where it was not.
    """

    name: str
    artifact: str | None
    model: str
    spec: str
    target: str
    variant: str
    precision: str
    sha256: str | None
    bytes: int
    cosine: float | None
    retained: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What ran it.

    Attributes:
        runtime, version: such as "onnxruntime", "1.32.0".
        provider: as the runtime names it: "CPUExecutionProvider", "CPU", "cpu".
        options: provider options, and what it computes in where the runtime says so.
        threads: threads it was given, shared by all streams; 0 where the runtime does not say.
        nodes: provider -> nodes of the graph that it took (llama.cpp: layers, the output head one of them); empty
            where the runtime does not say.
    """

    runtime: str
    version: str
    provider: str
    options: Mapping[str, str]
    threads: int
    nodes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One subject in one setting, in a process of its own.

    Attributes:
        subject: name of a subject of the file.
        tokens: of each text, the end token included.
        batch: texts in a call.
        streams: calls at the same time, each from a thread of its own.
        load_ns: opening the model, without importing the runtime; this and other times, and memory, are None where
            another project's runner measured and does not say.
        first_call_ns: of the model, on ids.
        warm_calls: further calls that were not kept.
        samples_ns: of the model on ids, in the order they were taken; empty where such a runner keeps none.
        tokenise_ns: of the same texts, in the same order; empty where the runtime does not tokenise apart.
        end_to_end_ns: text to vector, taken apart from the others.
        wall_ns, cpu_ns: around all samples: time on the clock, and of the process on all cores.
        resident_bytes, peak_bytes: of the process after the samples, and at most (load included).
        round_ends: index of `samples_ns` at which each round of an interleaved run ended.
        noise: what makes it hard to trust, a sentence each; empty for a quiet run.
        summary_ns: "median", "mean", "least", "most" of calls, where the runner gives these and no samples.
    """

    subject: str
    engine: Engine
    tokens: int
    batch: int
    streams: int
    load_ns: int | None
    first_call_ns: int | None
    warm_calls: int
    samples_ns: tuple[int, ...]
    tokenise_ns: tuple[int, ...]
    end_to_end_ns: tuple[int, ...]
    wall_ns: int | None
    cpu_ns: int | None
    resident_bytes: int | None
    peak_bytes: int | None
    round_ends: tuple[int, ...]
    noise: tuple[str, ...]
    summary_ns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Median time of a subject over the first one's, of the same rounds, with its 95% interval."""

    subject: str
    base: str
    tokens: int
    batch: int
    streams: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What `mlexport bench` measured.

    Attributes:
        kind: "measured".
        created: date and time, ISO 8601 with its zone.
        profile: name of the device profile.
        where: "here", "ssh://…" or "adb:…".
        environment: processor, cores, memory, operating system, versions, load before, steal and frequency.
        method: how it was measured, a sentence each.
        trusted: False where a run was too noisy.
    """

    kind: str
    format_version: int
    tool: str
    created: str
    profile: str
    where: str
    environment: Mapping[str, object]
    method: tuple[str, ...]
    subjects: tuple[Subject, ...]
    runs: tuple[Run, ...]
    ratios: tuple[Ratio, ...]
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an estimate: operations of one sort.

    Attributes:
        name: such as "products int8", "attention", "table", "output head".
        giga_operations: a multiply-add counts two.
        megabytes: moved to and from memory.
        bound: "compute", "bandwidth", "cache" or "overhead": what its time is.
    """

    name: str
    giga_operations: float
    megabytes: float
    ms: float
    bound: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureUsed:
    """A figure of the profile that an estimate rests on."""

    name: str
    value: float
    unit: str
    grade: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """An estimate of one subject at one length and batch, on one profile.

    Attributes:
        refused: why there is none; None where there is one. All numbers are None where it is refused.
        ms, low_ms, high_ms: the estimate and its range.
        memory_bytes: estimated resident memory.
        coverage: share of cases in the repository's check that fell into such a range.
        warnings: limits of the device that the subject passes, a sentence each.
    """

    subject: str
    profile: str
    runtime: str
    tokens: int
    batch: int
    refused: str | None
    ms: float | None
    low_ms: float | None
    high_ms: float | None
    memory_bytes: int | None
    coverage: float | None
    parts: tuple[Part, ...]
    figures: tuple[FigureUsed, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateResult:
    """What `mlexport estimate` found.

    Attributes:
        kind: "estimated".
        method: how it was estimated, and how far it was off where it was checked, a sentence each.
    """

    kind: str
    format_version: int
    tool: str
    created: str
    method: tuple[str, ...]
    subjects: tuple[Subject, ...]
    estimates: tuple[Estimated, ...]


def latency_json(result: BenchResult | EstimateResult) -> str:
    """The text of a result file."""
    return json.dumps(latency_data(result), ensure_ascii=False, indent=1) + "\n"


def latency_data(result: BenchResult | EstimateResult) -> dict[str, object]:
    """The same as plain data."""
    return asdict(result)


def check_latency_file(path: Path, *, force: bool) -> None:
    """Refuse an output file before anything is measured for it.

    Raises:
        ExportError: it exists and `force` is not given, or its folder does not exist.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "is a folder" if path.is_dir() else f"cannot be written: there is no folder {path.absolute().parent}"
        raise ExportError(f"{path} {what}. Choose another --out")
    if path.exists() and not force:
        raise ExportError(f"{path} exists: choose another --out, or pass --force to replace it")


def write_latency(result: BenchResult | EstimateResult, path: Path) -> None:
    """Write a result file, whole or not at all.

    Raises:
        ExportError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(latency_json(result), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}. Choose another --out") from None
    finally:
        partial.unlink(missing_ok=True)


def read_latency(path: Path) -> BenchResult | EstimateResult:
    """A file that `mlexport bench --out` or `mlexport estimate --out` wrote.

    Raises:
        UsageError: no such file, or another form.
    """
    data = _read(path)
    kinds = {MEASURED: BenchResult, ESTIMATED: EstimateResult}
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise UsageError(f"{path} is not a result of `mlexport bench` or `mlexport estimate`: its kind is {kind!r}")
    if data.get("format_version") != FORMAT_VERSION:
        version = data.get("format_version")
        raise UsageError(f"{path} has format_version {version!r}, this mlexport reads {FORMAT_VERSION}")
    try:
        return cast("BenchResult | EstimateResult", decode(kinds[kind], data, ""))
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, _LIMIT_BYTES, "a result of mlexport")
    except ValueError as error:
        raise UsageError(str(error)) from None
