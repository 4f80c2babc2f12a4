"""Latency of a sweep's points on the profiles that its recipe names: estimated from each body's plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from mlexport.errors import UsageError
from mlexport.latency import ESTIMATED, Estimated
from mlexport.pipeline.estimate import EstimateRequest, estimate_latency
from mlexport.recipe import Recipe
from mlexport.recipe_checks import DEMAND_TOKENS
from mlexport.sweep.plan import PlannedCut, SweepPlan, base_request, request_for
from mlexport.sweep.tasks import Cut
from mlexport.swept import Point, PointLatency

Found = tuple[Mapping[str, object], Sequence[PointLatency]]
_REFUSED = "refused"


def latencies_of(plan: SweepPlan, points: Sequence[Point]) -> list[Found]:
    """Columns and rows of every point that has a profile and can be made.

    Cuts that differ in dim alone share an estimate: the numbers past dim are computed, and left out at the end.
    """
    profiles = [name for name in plan.profiles if name is not None]
    estimates = {
        (one.cut, profile): found
        for body in plan.bodies
        for profile in profiles
        for found in [_estimates(plan.recipe, body[0], profile)]
        for one in body
    }
    found = []
    for point in points:
        cut = Cut(**{field.name: getattr(point, field.name) for field in fields(Cut)})
        if point.profile is not None and (cut, point.profile) in estimates:
            found.append(_of_point(point, estimates[cut, point.profile]))
    return found


def _estimates(recipe: Recipe, widest: PlannedCut, profile: str) -> list[PointLatency]:
    """Rows of a body on a profile, without the point's number."""
    assert widest.spec is not None
    request = EstimateRequest(
        subjects=[widest.spec],
        profiles=[profile],
        tokens=recipe.measure.tokens,
        batches=recipe.measure.batch,
        cut=request_for(base_request(recipe), widest.cut),
    )
    try:
        estimates: Sequence[Estimated] = estimate_latency(request).estimates
    except UsageError as error:
        # This machine before `calibrate-device`: its profile has no throughput
        return [_refused(str(error))]
    return [_row(one) for one in estimates]


def _row(one: Estimated) -> PointLatency:
    return PointLatency(
        point=0,
        tokens=one.tokens,
        batch=one.batch,
        kind=ESTIMATED if one.refused is None else _REFUSED,
        ms=one.ms,
        low_ms=one.low_ms,
        high_ms=one.high_ms,
        memory_bytes=one.memory_bytes,
        note=one.refused,
    )


def _refused(why: str) -> PointLatency:
    return PointLatency(
        point=0,
        tokens=DEMAND_TOKENS,
        batch=1,
        kind=_REFUSED,
        ms=None,
        low_ms=None,
        high_ms=None,
        memory_bytes=None,
        note=why,
    )


def _of_point(point: Point, rows: Sequence[PointLatency]) -> Found:
    own = tuple(replace(row, point=point.point) for row in rows)
    nearest = min(own, key=lambda row: (row.batch, abs(row.tokens - DEMAND_TOKENS)))
    columns = {
        "point": point.point,
        "latency_ms": nearest.ms,
        "latency_low_ms": nearest.low_ms,
        "latency_high_ms": nearest.high_ms,
        "latency_tokens": nearest.tokens,
        "latency_kind": nearest.kind,
        "memory_bytes": nearest.memory_bytes,
    }
    return columns, own
