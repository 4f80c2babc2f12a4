"""Which cuts are worth measuring next: pure.

More layers, rank, tokens or bits never hurt retention, so one measurement says something of many cuts: of one that
keeps enough, whatever is no cheaper is of no interest; of one that does not, whatever has no more of anything keeps
no more either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from mlexport.chosen import BEST, FASTEST, Limits, Option, fits
from mlexport.spec import FLOAT_PRECISIONS

# Bodies that differ in dim alone are measured as one; here the widest stands for all of them
Body = tuple[object, ...]
Kept = Mapping[Body, float]


def bits(precision: str) -> int:
    """A number that is larger for a precision that keeps more; f32 keeps what f16 does, as far as this can tell."""
    if precision in FLOAT_PRECISIONS:
        return 16
    return 8 if "8" in precision else 4


def axes(option: Option) -> tuple[float, ...]:
    """What never hurts retention: layers, rank, tokens, bits; in the order in which less of it hurts most."""
    rank = inf if option.rank is None else float(option.rank)
    return (float(option.layers), rank, float(option.vocab is None), float(bits(option.precision)))


def covers(one: Option, other: Option) -> bool:
    """Whether `one` has no less of anything."""
    return all(a >= b for a, b in zip(axes(one), axes(other), strict=True))


def cost(option: Option, objective: str) -> float:
    """What should be low."""
    return (inf if option.ms is None else option.ms) if objective == FASTEST else float(option.bytes)


def next_bodies(widest: Sequence[Option], kept: Kept, limits: Limits, objective: str, most: int) -> list[Option]:
    """At most so many bodies to measure next; empty where nothing more can be learnt that matters.

    Args:
        widest: the widest option of each body.
        kept: body -> the highest retention of its options, for those that were visited.
    """
    able = [one for one in widest if fits(one, limits)]
    chosen: list[Option] = []
    assumed = dict(kept)
    while len(chosen) < most:
        found = _next(able, assumed, limits, objective)
        if found is None:
            break
        chosen.append(found)
        # The second of a batch is chosen as if the first kept enough: then cheaper ones are of interest
        assumed[found.body] = 1.0
    return chosen


def _next(able: Sequence[Option], kept: Kept, limits: Limits, objective: str) -> Option | None:
    seen = [one for one in able if one.body in kept]
    # One cut keeps nearly the same in every format: the fastest is measured, the others are not
    fresh = _one_format([one for one in able if all(axes(one) != axes(other) for other in seen)])
    if not seen:
        return max(fresh, key=lambda one: (axes(one), -_ms(one)), default=None)
    if limits.min_retention is None or objective == BEST:
        best = min(seen, key=lambda one: (-round(kept[one.body], 3), one.bytes))
        fresh = [one for one in fresh if one.bytes < best.bytes or not any(covers(other, one) for other in seen)]
        return max(fresh, key=lambda one: (axes(one), -_ms(one)), default=None)
    enough = [one for one in seen if kept[one.body] >= limits.min_retention]
    failed = [one for one in seen if kept[one.body] < limits.min_retention]
    bound = min((cost(one, objective) for one in enough), default=inf)
    fresh = [one for one in fresh if cost(one, objective) < bound and not any(covers(other, one) for other in failed)]
    if not enough:
        return max(fresh, key=lambda one: (axes(one), -_ms(one)), default=None)
    return max(fresh, key=lambda one: (*_worth(one, fresh, objective), axes(one), -_ms(one)), default=None)


def _one_format(options: Sequence[Option]) -> list[Option]:
    found: dict[tuple[float, ...], Option] = {}
    for one in sorted(options, key=_ms):
        found.setdefault(axes(one), one)
    return list(found.values())


def _worth(one: Option, fresh: Sequence[Option], objective: str) -> tuple[int, float]:
    """How many cuts its measurement settles at least, whichever way it goes; of equals the cheaper one."""
    costlier = sum(cost(other, objective) >= cost(one, objective) for other in fresh)
    covered = sum(covers(one, other) for other in fresh)
    return min(costlier, covered), -cost(one, objective)


def _ms(option: Option) -> float:
    return inf if option.ms is None else option.ms
