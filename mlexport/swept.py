"""What a sweep measured, as data, and how its file is read: `sweep.sqlite`, which any SQLite reads too.

Tables: `points` (a row for each point and device profile, the columns of `Point`), `languages` (of `LanguageShare`),
`latencies` (of `PointLatency`), `steps` (`StepTime`: what took how long), `runs` (`SweepRun`: environments), `sweep`
(key, value: the recipe as it was swept, its sha256, what points of it depend on).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from mlexport.errors import UsageError

SCHEMA_VERSION = "1"
DATABASE = "sweep.sqlite"
# States of a point
PENDING, DONE, FAILED, ERROR, REFUSED = "pending", "done", "failed", "error", "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a sweep on one device profile; what is not known (yet) is None.

    Attributes:
        point: number in the sweep, from 1; a cut on two profiles is two points.
        cut: number of what was made; points that differ in the profile alone share it.
        model: as the recipe names it.
        spec: such as "L8-R64-D128".
        rank, vocab: None for the stored table, and for the whole vocabulary; `vocab` as asked for, `vocab_tokens` what
            it came to.
        precision: the format's own name.
        profile: name of a device profile; None where the recipe names none.
        status: "pending"; "done"; "failed" (verification: its numbers are there); "error" (`reason` says which; a
            later run tries again); "refused" (this combination cannot be made).
        planned_bytes: of all tensors, exact.
        bytes: of the model's files and of those it needs, the manifest aside, as `eval` counts them.
        file_sha256: of the file that a runtime opens.
        artifact: where it lies, for those that were kept.
        mean_cosine, min_cosine: to transformers on the checkpoint cut by hand.
        full_ndcg, ndcg: nDCG@10 of the full model and of this point.
        retained, retained_low, retained_high: share of the full model's nDCG@10, with its 95% interval.
        retained_recall: share of its recall@10.
        overlap, correlation: shared neighbours, Spearman's rho of similarities.
        retained_stored: as `retained`, with vectors stored as the recipe says; None for f32.
        latency_ms, latency_low_ms, latency_high_ms: of 128 tokens, or the nearest length of the recipe; one text.
        latency_tokens: that length.
        latency_kind: "measured", "estimated", "refused"; None where nobody looked.
        memory_bytes: resident, estimated or measured with the latency.
        seconds: what it took, its share of what several points needed included.
    """

    point: int
    cut: int
    model: str
    spec: str | None
    layers: int
    rank: int | None
    vocab: str | None
    vocab_tokens: int | None
    dim: int
    precision: str
    target: str
    profile: str | None
    status: str
    reason: str | None
    planned_bytes: int | None
    bytes: int | None
    file_sha256: str | None
    artifact: str | None
    mean_cosine: float | None
    min_cosine: float | None
    full_ndcg: float | None
    ndcg: float | None
    retained: float | None
    retained_low: float | None
    retained_high: float | None
    retained_recall: float | None
    overlap: float | None
    correlation: float | None
    retained_stored: float | None
    latency_ms: float | None
    latency_low_ms: float | None
    latency_high_ms: float | None
    latency_tokens: int | None
    latency_kind: str | None
    memory_bytes: int | None
    seconds: float | None
    run: int | None

    @property
    def label(self) -> str:
        """In words, such as "L8-D128 gguf q8_0"."""
        return f"{self.spec} {self.target} {self.precision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageShare:
    """nDCG@10 of one language's queries at one cut, and its share of the full model's with the 95% interval."""

    cut: int
    language: str
    queries: int
    full_ndcg: float
    ndcg: float
    retained: float | None
    retained_low: float | None
    retained_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointLatency:
    """Latency of one point at one length and batch; `kind` as in `Point.latency_kind`, `note` why it was refused."""

    point: int
    tokens: int
    batch: int
    kind: str
    ms: float | None
    low_ms: float | None
    high_ms: float | None
    memory_bytes: int | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """A step that was finished: of a task ("reference", or the body that several cuts share), in seconds."""

    run: int
    task: str
    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One start of the command: when, with which environment (JSON: machine and versions) and options."""

    run: int
    started: str
    finished: str | None
    executor: str
    jobs: int
    environment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep's file, read.

    Attributes:
        facts: "schema", "title", "model", "recipe" (JSON, as swept), "recipe_sha256", "identity", "grid" (JSON).
    """

    path: Path
    facts: Mapping[str, str]
    points: tuple[Point, ...]
    languages: tuple[LanguageShare, ...]
    latencies: tuple[PointLatency, ...]
    steps: tuple[StepTime, ...]
    runs: tuple[SweepRun, ...]


_Row = TypeVar("_Row")
TABLES: Mapping[str, type] = {
    "points": Point,
    "languages": LanguageShare,
    "latencies": PointLatency,
    "steps": StepTime,
    "runs": SweepRun,
}


def is_sweep(path: Path) -> bool:
    """Whether the path is a sweep's file, or the folder of one."""
    return _file(path).is_file()


def read_sweep(path: Path) -> Sweep:
    """A sweep's results, whether it has ended or not.

    Args:
        path: its folder, or the file itself.

    Raises:
        UsageError: no such file, or not of a sweep.
    """
    file = _file(path)
    if not file.is_file():
        raise UsageError(f"{file} does not exist: expected the folder that `mlexport sweep` wrote")
    try:
        database = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
        try:
            facts = dict(database.execute("SELECT key, value FROM sweep"))
            _check_version(file, facts)
            found: dict[str, tuple[Any, ...]] = {name: rows(database, name, kind) for name, kind in TABLES.items()}
        finally:
            database.close()
    except sqlite3.Error as error:
        raise UsageError(f"{file} is not the file of a sweep: {error}") from None
    return Sweep(path=file, facts=facts, **found)


def rows(database: sqlite3.Connection, table: str, kind: type[_Row]) -> tuple[_Row, ...]:
    """A table's rows, in the order they were written."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    columns = ", ".join(f'"{name}"' for name in names)
    found = database.execute(f"SELECT {columns} FROM {table} ORDER BY rowid")
    return tuple(kind(**dict(zip(names, row, strict=True))) for row in found)


def _check_version(file: Path, facts: Mapping[str, str]) -> None:
    if facts.get("schema") != SCHEMA_VERSION:
        raise UsageError(f"{file} has schema {facts.get('schema')!r}, this mlexport reads {SCHEMA_VERSION}")


def _file(path: Path) -> Path:
    return path / DATABASE if path.is_dir() else path
