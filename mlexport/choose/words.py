"""Why nothing fits, in one line."""

from __future__ import annotations

from mlexport.chosen import FLAGS, NAMES, Chosen, asked, found, limit_of, misses, shown
from mlexport.ran import LATENCY, SIZE


def impossible(chosen: Chosen) -> str:
    """What binds, and the smallest changes that would do, in one line."""
    limits = chosen.limits
    if chosen.fitting and not chosen.fitting_known:
        return (
            f"{chosen.fitting:,} cuts of {chosen.model} are within size and latency on {chosen.profile}, but the "
            "retention of none is known: pass --measure 4, or --sweep FILE"
        )
    if not chosen.binds:
        return f"no cut of {chosen.model} runs on {chosen.profile}: `mlexport estimate` says why, of each"
    wanted = " and ".join(f"{FLAGS[one]} {shown(one, limit_of(limits, one))}" for one in asked(limits))
    names = [NAMES[one] for one in chosen.binds]
    which = f"{names[0]} binds" if len(names) == 1 else f"{' and '.join(names)} bind together"
    text = f"no cut of {chosen.model} on {chosen.profile} meets {wanted}: {which}"
    ways = [f"{FLAGS[one.limit]} {_enough(one.limit, one.value)} ({one.option.label})" for one in chosen.relaxed]
    if ways:
        # Retention is known of what was measured alone
        among = "" if limits.min_retention is None else f" among the {chosen.measured:,} cuts measured"
        return f"{text}. With the others kept, the smallest change{among} is {', or '.join(ways)}"
    if chosen.nearest is not None:
        near = chosen.nearest
        numbers = ", ".join(f"{FLAGS[one]} {_enough(one, found(near, one) or 0.0)}" for one in misses(near, limits))
        return f"{text}, and no one limit is enough to change. The nearest cut is {near.label}: {numbers}"
    return f"{text}. Nothing was measured that comes near: raise --measure"


def _enough(limit: str, value: float) -> str:
    """A limit that the value meets, as an option takes it: rounded to the side that lets it in."""
    if limit == SIZE:
        return f"{-(-value // 10_000) / 100:.2f}MB"
    if limit == LATENCY:
        return f"{-(-value // 0.1) / 10:.1f}ms"
    return f"{value // 0.001 / 1000:.3f}"
