"""A sweep's file while it is written: one process writes, each task's results in one transaction."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_type_hints

from mlexport.errors import UsageError
from mlexport.results import Step
from mlexport.sweep.plan import PlannedCut, SweepPlan, sha256_of
from mlexport.sweep.tasks import Cut, Measured
from mlexport.swept import (
    DATABASE,
    DONE,
    ERROR,
    FAILED,
    PENDING,
    REFUSED,
    SCHEMA_VERSION,
    TABLES,
    Point,
    PointLatency,
    StepTime,
    SweepRun,
    rows,
)

_TYPES = {int: "INTEGER", float: "REAL", str: "TEXT"}
# Columns that say which cut a point is of
_CUT = ("layers", "rank", "vocab", "dim", "precision", "target")
_KEYS = {"points": "point", "runs": "run"}


class State:
    """The file of one sweep, open for writing; use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        self.database = sqlite3.connect(self.path, isolation_level=None, timeout=60)
        # A killed process leaves a log that the next one to open the file applies; a commit is on the disk
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.run = 0

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        # What lies in the log goes into the file, which can then be copied alone
        self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.database.close()

    def begin(self, plan: SweepPlan, *, executor: str, jobs: int, environment: Mapping[str, object]) -> None:
        """Make the tables, or take up what is there; points of the grid that are not there yet are added.

        Raises:
            UsageError: what is there was swept with other settings or another checkpoint.
        """
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            for name, kind in TABLES.items():
                self.database.execute(_create(name, kind))
            self.database.execute("CREATE TABLE IF NOT EXISTS sweep (key TEXT PRIMARY KEY, value TEXT)")
            self._check_identity(plan)
            self._put_facts(plan)
            self._add_points(plan)
            [(last,)] = self.database.execute("SELECT coalesce(max(run), 0) FROM runs")
            self.run = last + 1
            started = SweepRun(
                run=self.run,
                started=now(),
                finished=None,
                executor=executor,
                jobs=jobs,
                environment=json.dumps(environment, sort_keys=True),
            )
            self._insert("runs", [started])

    def pending(self, cuts: Sequence[PlannedCut], *, keep: bool) -> list[PlannedCut]:
        """Those of the cuts whose numbers are not known; errors of earlier runs among them.

        Args:
            keep: those too that were measured, but not kept.
        """
        open_states = (PENDING, ERROR, DONE) if keep else (PENDING, ERROR)
        open_cuts = {cut for cut, status, artifact in self._states() if status in open_states and artifact is None}
        return [one for one in cuts if one.cut in open_cuts]

    def put(self, task: str, steps: Iterable[Step], measured: Sequence[Measured] = ()) -> None:
        """Keep what a task gave, all of it or nothing."""
        done = list(steps)
        own = {f"D{one.cut.dim}" for one in measured}
        shared = sum(step.seconds for step in done if step.name not in own) / max(1, len(measured))
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            self._insert(
                "steps", [StepTime(run=self.run, task=task, step=step.name, seconds=step.seconds) for step in done]
            )
            for one in measured:
                self._put_cut(one, shared)

    def fail(self, cuts: Iterable[Cut], reason: str) -> None:
        """The task of these cuts ended in an error."""
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            for cut in cuts:
                self._update(cut, {"status": ERROR, "reason": reason, "run": self.run})

    def put_latencies(self, found: Sequence[tuple[Mapping[str, object], Sequence[PointLatency]]]) -> None:
        """Latencies of points: columns of each (its `point` among them), and rows for every length."""
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            for columns, latencies in found:
                values = {key: value for key, value in columns.items() if key != "point"}
                names = ", ".join(f"{key} = ?" for key in values)
                self.database.execute(
                    f"UPDATE points SET {names} WHERE point = ?", (*values.values(), columns["point"])
                )
                self.database.execute("DELETE FROM latencies WHERE point = ?", (columns["point"],))
                self._insert("latencies", latencies)

    def finish(self) -> None:
        """This run has come to its end."""
        with self.database:
            self.database.execute("UPDATE runs SET finished = ? WHERE run = ?", (now(), self.run))

    def points(self) -> tuple[Point, ...]:
        """All points, as they stand."""
        return rows(self.database, "points", Point)

    def _check_identity(self, plan: SweepPlan) -> None:
        found = dict(self.database.execute("SELECT key, value FROM sweep"))
        if not found:
            return
        if found.get("schema") != SCHEMA_VERSION:
            raise UsageError(f"{self.path} has schema {found.get('schema')!r}, this mlexport writes {SCHEMA_VERSION}")
        if found["identity"] != plan.identity:
            differing = _differing(json.loads(found["identity"]), json.loads(plan.identity))
            raise UsageError(
                f"{self.path} holds a sweep with other settings ({', '.join(differing)}): its points do not compare. "
                "Choose another --out, or pass --force to start over"
            )

    def _put_facts(self, plan: SweepPlan) -> None:
        recipe = plan.recipe.model_dump(mode="json")
        text = json.dumps(recipe, sort_keys=True)
        facts = {
            "schema": SCHEMA_VERSION,
            "title": plan.recipe.title,
            "model": plan.recipe.model,
            "recipe": text,
            "recipe_sha256": sha256_of(text),
            "grid": json.dumps(recipe["grid"]),
            "identity": plan.identity,
        }
        self.database.executemany("INSERT OR REPLACE INTO sweep VALUES (?, ?)", facts.items())

    def _add_points(self, plan: SweepPlan) -> None:
        have = {
            (tuple(row[:6]), row[6]): row[7]
            for row in self.database.execute(f"SELECT {', '.join(_CUT)}, profile, cut FROM points")
        }
        cuts = {key[0]: number for key, number in have.items()}
        point = len(have)
        for one in plan.cuts:
            axes = tuple(getattr(one.cut, axis) for axis in _CUT)
            number = cuts.setdefault(axes, max(cuts.values(), default=0) + 1)
            for profile in plan.profiles:
                if (axes, profile) not in have:
                    point += 1
                    self._insert("points", [_new_point(plan, one, point, number, profile)])
                    self._copy_numbers(point, number)

    def _copy_numbers(self, point: int, cut: int) -> None:
        """A profile that is new in the grid: the cut itself may have been measured."""
        names = [field.name for field in fields(Point) if field.name not in _NOT_COPIED]
        values = ", ".join(f"{name} = (SELECT {name} FROM points WHERE cut = {cut} ORDER BY point)" for name in names)
        self.database.execute(f"UPDATE points SET {values} WHERE point = ?", (point,))

    def _put_cut(self, one: Measured, shared: float) -> None:
        kept = one.retention
        stored = None if kept is None or not kept.stored else kept.stored[0].retained.value
        values: dict[str, object] = {
            "status": DONE if one.passed else FAILED,
            "reason": one.reason,
            "spec": one.spec,
            "vocab_tokens": one.vocab_tokens,
            "planned_bytes": one.planned_bytes,
            "bytes": one.bytes,
            "file_sha256": one.file_sha256,
            "artifact": one.artifact,
            "mean_cosine": one.mean_cosine,
            "min_cosine": one.min_cosine,
            "retained_stored": stored,
            "seconds": shared + one.seconds,
            "run": self.run,
        }
        if kept is not None:
            values |= {
                "full_ndcg": kept.full_ndcg.value,
                "ndcg": kept.ndcg.value,
                "retained": kept.retained_ndcg.value,
                "retained_low": kept.retained_ndcg.low,
                "retained_high": kept.retained_ndcg.high,
                "retained_recall": kept.retained_recall.value,
                "overlap": kept.overlap.value,
                "correlation": kept.correlation.value,
            }
        number = self._update(one.cut, values)
        self.database.execute("DELETE FROM languages WHERE cut = ?", (number,))
        rows_of = [(number, *astuple(language)[1:]) for language in one.languages]
        self.database.executemany(f"INSERT INTO languages VALUES ({', '.join('?' * 8)})", rows_of)

    def _update(self, cut: Cut, values: Mapping[str, object]) -> int:
        names = ", ".join(f"{key} = ?" for key in values)
        where = " AND ".join(f"{axis} IS ?" for axis in _CUT)
        axes = tuple(getattr(cut, axis) for axis in _CUT)
        self.database.execute(f"UPDATE points SET {names} WHERE {where}", (*values.values(), *axes))
        [number] = {row[0] for row in self.database.execute(f"SELECT cut FROM points WHERE {where}", axes)}
        return int(number)

    def _states(self) -> list[tuple[Cut, str, str | None]]:
        found = self.database.execute(f"SELECT {', '.join(_CUT)}, status, artifact FROM points")
        return [(Cut(**dict(zip(_CUT, row[:6], strict=True))), row[6], row[7]) for row in found]

    def _insert(self, table: str, found: Sequence[object]) -> None:
        marks = ", ".join("?" * len(fields(TABLES[table])))
        self.database.executemany(f"INSERT INTO {table} VALUES ({marks})", [astuple(one) for one in found])  # type: ignore[call-overload]


# Numbers of a cut are the same on every profile, but for these
_NOT_COPIED = ("point", "profile", "latency_ms", "latency_low_ms", "latency_high_ms", "latency_tokens", "latency_kind",
               "memory_bytes")  # fmt: skip


def _new_point(plan: SweepPlan, one: PlannedCut, point: int, cut: int, profile: str | None) -> Point:
    unknown = {field.name: None for field in fields(Point)}
    known: dict[str, object] = {
        "point": point,
        "cut": cut,
        "model": plan.recipe.model,
        "spec": one.spec,
        **{axis: getattr(one.cut, axis) for axis in _CUT},
        "vocab_tokens": one.vocab_tokens,
        "profile": profile,
        "status": PENDING if one.refused is None else REFUSED,
        "reason": one.refused,
        "planned_bytes": one.bytes,
    }
    return Point(**{**unknown, **known})  # type: ignore[arg-type]


def _create(name: str, kind: type) -> str:
    hints = get_type_hints(kind)
    columns = [f'"{field.name}" {_column(hints[field.name], field.name == _KEYS.get(name))}' for field in fields(kind)]
    return f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)})"


def _column(hint: object, key: bool) -> str:
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    [known] = [one for one in options if one is not NoneType]
    return _TYPES[known] + (" PRIMARY KEY" if key else "" if NoneType in options else " NOT NULL")


def _differing(before: Mapping[str, Mapping[str, object]], after: Mapping[str, Mapping[str, object]]) -> list[str]:
    names = []
    for part in sorted(after):
        old, new = before.get(part, {}), after[part]
        names += [f"{part}.{key}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [name.removeprefix("settings.") for name in names] or ["checkpoint"]


def now() -> str:
    """Date and time with the zone."""
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")


def remove(folder: Path) -> None:
    """Remove a sweep's file."""
    for suffix in ("", "-wal", "-shm"):
        (folder / (DATABASE + suffix)).unlink(missing_ok=True)
    os.sync()
