"""A sweep's file as a report's points."""

from __future__ import annotations

import json
from pathlib import Path

from mlexport.report.latency import Source
from mlexport.report.pareto import Point
from mlexport.report.publish import source_of
from mlexport.swept import DONE, FAILED, Sweep


def points_of(sweep: Sweep) -> list[Point]:
    """Its measured points; those whose verification failed are no choice, and are left out."""
    return [
        Point(
            name=one.label if one.vocab is None else f"{one.label}, vocabulary {one.vocab}",
            device=one.profile or "",
            layers=one.layers,
            rank=one.rank,
            dim=one.dim,
            vocab=one.vocab_tokens,
            precision=one.precision,
            target=one.target,
            bytes=one.bytes,
            retained=one.retained,
            cosine=one.mean_cosine,
            ms=one.latency_ms,
            ms_kind=None if one.latency_ms is None else one.latency_kind,
        )
        for one in sweep.points
        if one.status == DONE and one.bytes is not None
    ]


def left_out(sweep: Sweep) -> int:
    """Points whose verification failed."""
    return sum(one.status == FAILED for one in sweep.points)


def sweep_source(sweep: Sweep) -> Source:
    """The file that they are from."""
    last = sweep.runs[-1]
    tool = f"mlexport {json.loads(last.environment).get('mlexport', '')}".strip()
    return source_of(sweep.path, kind="sweep", tool=tool, created=last.started, trusted=None)


def is_points(path: Path) -> bool:
    """Whether a path that `report` is given is a sweep: its folder, or its file."""
    return path.is_dir() or path.suffix == ".sqlite"
