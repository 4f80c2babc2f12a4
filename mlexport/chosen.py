"""The choice of `mlexport choose`, as data and as pure functions: which cut, why, and what it would take instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from mlexport.ran import LATENCY, RETENTION, SIZE
from mlexport.spec import show_ms

SMALLEST, FASTEST, BEST = "size", "latency", "quality"
# Retention is shown with so many digits: what looks the same is the same, and the smaller one is taken
_DIGITS = 3
# Files that differ by less are equally small: a header names its dim
_SIZE_STEP = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is asked of a cut; None asks nothing."""

    max_bytes: int | None = None
    max_ms: float | None = None
    min_retention: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A cut with what is known of it on one profile.

    Attributes:
        precision: the format's own name; rank and vocab None are the stored table and every token.
        bytes: what a user ships; planned (tensors exact, and the tokenizer) where `bytes_measured` is False.
        ms, low_ms, high_ms: of 128 tokens; an estimate with its range unless `ms_measured`; None where there is none.
        refused: why the profile does not run it, or why it cannot be made.
        retained: share of the full model's nDCG@10 with its 95% interval; None where it was not measured.
        source: the sweep's file that measured it.
    """

    spec: str
    layers: int
    rank: int | None
    vocab: str | None
    dim: int
    precision: str
    target: str
    bytes: int
    bytes_measured: bool = False
    ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    ms_measured: bool = False
    refused: str | None = None
    retained: float | None = None
    retained_low: float | None = None
    retained_high: float | None = None
    source: str | None = None

    @property
    def label(self) -> str:
        """In words, such as "L8-D128 gguf q8_0"."""
        return f"{self.spec} {self.target} {self.precision}"

    @property
    def body(self) -> tuple[object, ...]:
        """What options that differ in dim alone share: one model runs for all of them."""
        return (self.layers, self.rank, self.vocab, self.precision, self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """The smallest change of one limit, the others kept, that lets something in: its new value and what that is."""

    limit: str
    value: float
    option: Option


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An option that was not chosen, and why."""

    option: Option
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What `choose` found.

    Attributes:
        objective: SMALLEST, FASTEST or BEST.
        option: None where nothing meets the limits.
        runners_up: others, the nearest first.
        binds: limits that nothing meets at once; empty where something was chosen.
        relaxed: for each limit that helps alone, the smallest change.
        options: how many cuts there were, `fitting` of them within size and latency, the retention of
            `fitting_known` of those known.
        measured: cuts whose retention is known, `new` of them measured now.
        plan: in a dry run, what would be measured first.
        notes: what has to be known to read it, a sentence each.
    """

    model: str
    profile: str
    limits: Limits
    languages: tuple[str, ...]
    objective: str
    option: Option | None
    runners_up: tuple[Verdict, ...]
    binds: tuple[str, ...]
    relaxed: tuple[Relaxed, ...]
    nearest: Option | None
    options: int
    fitting: int
    fitting_known: int
    measured: int
    new: int
    plan: tuple[Option, ...]
    notes: tuple[str, ...]
    recipe: str | None


def misses(option: Option, limits: Limits) -> tuple[str, ...]:
    """Limits that the option breaks, or is not known to meet; a retention that was not measured is one."""
    found = []
    if limits.max_bytes is not None and option.bytes > limits.max_bytes:
        found.append(SIZE)
    if option.refused is not None or (limits.max_ms is not None and (option.ms is None or option.ms > limits.max_ms)):
        found.append(LATENCY)
    if limits.min_retention is not None and (option.retained is None or option.retained < limits.min_retention):
        found.append(RETENTION)
    return tuple(found)


def fits(option: Option, limits: Limits) -> bool:
    """Whether size and latency are within the limits."""
    return not {SIZE, LATENCY} & set(misses(option, limits))


def objective_of(limits: Limits, prefer: str | None) -> str:
    """What is chosen by where nothing is said: quality, or the smallest where a retention is enough."""
    return prefer or (BEST if limits.min_retention is None else SMALLEST)


def order(option: Option, objective: str) -> tuple[float, ...]:
    """Sorts the better option first.

    What differs by less than is shown, or by a header alone, is equal: then fewer bytes, fewer numbers in a vector
    and less time decide, in this order.
    """
    kept = -round(option.retained if option.retained is not None else -1.0, _DIGITS)
    size, ms = float(round(option.bytes / _SIZE_STEP)), inf if option.ms is None else option.ms
    if objective == BEST:
        return (kept, size, option.dim, ms)
    return (size, option.dim, ms, kept) if objective == SMALLEST else (ms, size, option.dim, kept)


def pick(options: Iterable[Option], limits: Limits, objective: str) -> Option | None:
    """The best option whose retention is known and that meets every limit."""
    met = [one for one in options if one.retained is not None and not misses(one, limits)]
    return min(met, key=lambda one: order(one, objective), default=None)


def runners_up(options: Sequence[Option], chosen: Option, limits: Limits, objective: str, most: int) -> list[Verdict]:
    """Measured options that meet the limits, by the objective; then those that miss one, the nearest first.

    Of cuts that differ in dim alone, the first is shown.
    """
    known = [one for one in options if one.retained is not None and one != chosen]
    met = sorted((one for one in known if not misses(one, limits)), key=lambda one: order(one, objective))
    missed = sorted((one for one in known if misses(one, limits)), key=lambda one: excess(one, limits))
    found: dict[tuple[object, ...], Verdict] = {}
    for one in (*met, *missed):
        found.setdefault(one.body, Verdict(option=one, why=why_not(one, chosen, limits)))
    verdicts = list(found.values())
    own = sum(not misses(one.option, limits) for one in verdicts)
    # Both kinds are seen
    shown = min(own, most - min(len(verdicts) - own, most // 2))
    return [*verdicts[:shown], *verdicts[own : own + most - shown]]


def why_not(option: Option, chosen: Option, limits: Limits) -> str:
    """Why another option was chosen."""
    broken = misses(option, limits)
    if broken:
        return "; ".join(_broken(option, limit, limits) for limit in broken)
    parts = []
    if option.bytes - chosen.bytes >= _SIZE_STEP:
        parts.append(f"{(option.bytes - chosen.bytes) / 1e6:,.2f} MB larger")
    if option.ms is not None and chosen.ms is not None and option.ms > chosen.ms * 1.02:
        parts.append(f"{option.ms / chosen.ms:.1f} times as long" if option.ms > 1.5 * chosen.ms else "slower")
    if option.dim > chosen.dim:
        parts.append(f"vectors of {option.dim} numbers, not {chosen.dim}")
    points = ((chosen.retained or 0.0) - (option.retained or 0.0)) * 100
    if points >= 0.05:
        parts.append(f"keeps {points:.1f} points less")
    return ", ".join(parts) or "no better in anything shown"


def _broken(option: Option, limit: str, limits: Limits) -> str:
    if limit == LATENCY and option.refused is not None:
        return option.refused
    value, bound = found(option, limit), limit_of(limits, limit)
    if value is None:
        return f"{NAMES[limit]} not known"
    return f"{shown(limit, value)} is {'under' if limit == RETENTION else 'over'} {shown(limit, bound)}"


NAMES = {SIZE: "size", LATENCY: "latency", RETENTION: "retention"}
FLAGS = {SIZE: "--max-size", LATENCY: "--max-latency", RETENTION: "--min-retention"}


def found(option: Option, limit: str) -> float | None:
    """An option's number for a limit."""
    return {SIZE: float(option.bytes), LATENCY: option.ms, RETENTION: option.retained}[limit]


def limit_of(limits: Limits, limit: str) -> float:
    """The limit's number; infinite where nothing is asked."""
    value = {SIZE: limits.max_bytes, LATENCY: limits.max_ms, RETENTION: limits.min_retention}[limit]
    return inf if value is None else float(value)


def shown(limit: str, value: float) -> str:
    """A number of a limit, as it is written."""
    if limit == RETENTION:
        return f"{value:.1%}"
    return f"{value / 1e6:,.2f} MB" if limit == SIZE else f"{show_ms(value)} ms"


def excess(option: Option, limits: Limits) -> float:
    """By how much the worst limit is missed, as a share of it; infinite where a number is missing."""
    worst = 0.0
    for limit in misses(option, limits):
        value, bound = found(option, limit), limit_of(limits, limit)
        refused = limit == LATENCY and option.refused is not None
        worst = max(worst, inf if value is None or refused else abs(value - bound) / bound)
    return worst


def without(limits: Limits, limit: str) -> Limits:
    """The limits without one of them."""
    return Limits(
        max_bytes=None if limit == SIZE else limits.max_bytes,
        max_ms=None if limit == LATENCY else limits.max_ms,
        min_retention=None if limit == RETENTION else limits.min_retention,
    )


def asked(limits: Limits) -> Iterator[str]:
    """Limits that there are."""
    yield from (limit for limit in (SIZE, LATENCY, RETENTION) if limit_of(limits, limit) < inf)


def relaxations(options: Sequence[Option], limits: Limits) -> list[Relaxed]:
    """For each limit, the smallest change of it alone that lets an option in; those that help, in a fixed order."""
    relaxed = []
    for limit in asked(limits):
        others = without(limits, limit)
        sign = -1 if limit == RETENTION else 1
        able = [(one, found(one, limit)) for one in options if not misses(one, others)]
        near = min(((sign * value, order(one, BEST), one) for one, value in able if value is not None),
                   default=None, key=lambda row: row[:2])  # fmt: skip
        if near is not None:
            relaxed.append(Relaxed(limit=limit, value=sign * near[0], option=near[2]))
    return relaxed


def nearest(options: Iterable[Option], limits: Limits) -> Option | None:
    """The option that misses its worst limit by the smallest share."""
    near = min(options, key=lambda one: (excess(one, limits), order(one, BEST)), default=None)
    return None if near is None or excess(near, limits) == inf else near
