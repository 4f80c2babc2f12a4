"""What makes a run hard to trust, in sentences; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mlexport.spec import show_ms

# Above these a sentence is said: docs/latency.md has them as a table
MOST_STEAL = 0.01
MOST_OTHERS = 0.05
MOST_FREQUENCY = 1.1
MOST_SPREAD = 1.15
MOST_TAIL = 1.5
# A ninetieth percentile of fewer calls is one or two of them
_ENOUGH_FOR_TAIL = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What was seen beside the samples of a run; sequences have an entry a round.

    Attributes:
        medians_ns: of the round's samples.
        p50_ns, p90_ns: of all samples.
        calls: number of samples.
        steal, others: shares of all cores' time over the run; None where the system does not say.
        mhz: mean frequency; entries may be None.
        loop_ns: time of a loop that is always the same.
    """

    medians_ns: Sequence[float]
    p50_ns: float
    p90_ns: float
    calls: int
    steal: float | None
    others: float | None
    mhz: Sequence[float | None]
    loop_ns: Sequence[int]


def sentences(signs: Signs) -> tuple[str, ...]:
    """Why the run is hard to trust; empty for a quiet one."""
    found = [
        _share(signs.steal, MOST_STEAL, "The hypervisor took {} of the processor's time (steal)."),
        _share(signs.others, MOST_OTHERS, "Other processes took {} of the processor's time."),
        _frequency([one for one in signs.mhz if one is not None]),
        _loop(signs.loop_ns),
        _spread(signs.medians_ns),
        _tail(signs),
    ]
    return tuple(one for one in found if one)


def _share(share: float | None, most: float, sentence: str) -> str:
    if share is None or share <= most:
        return ""
    return sentence.format(f"{share:.0%}" if share >= 0.1 else f"{share:.1%}")


def _frequency(mhz: Sequence[float]) -> str:
    if not mhz or max(mhz) <= min(mhz) * MOST_FREQUENCY:
        return ""
    return f"The cores' frequency moved between {min(mhz):,.0f} and {max(mhz):,.0f} MHz."


def _loop(loop_ns: Sequence[int]) -> str:
    """Where no frequency is readable, or the cores are shared: a loop that should always take as long."""
    if len(loop_ns) < 2 or max(loop_ns) <= median(loop_ns) * (1 + 2 * (MOST_FREQUENCY - 1)):
        return ""
    return f"The processor's speed changed: the same loop took {min(loop_ns) / 1e6:.2f} to {max(loop_ns) / 1e6:.2f} ms."


def _spread(medians_ns: Sequence[float]) -> str:
    if len(medians_ns) < 2 or max(medians_ns) <= min(medians_ns) * MOST_SPREAD:
        return ""
    low, high = min(medians_ns) / 1e6, max(medians_ns) / 1e6
    return f"The rounds' medians differ by {high / low - 1:.0%} ({show_ms(low)} to {show_ms(high)} ms)."


def _tail(signs: Signs) -> str:
    if signs.calls < _ENOUGH_FOR_TAIL or signs.p90_ns <= signs.p50_ns * MOST_TAIL:
        return ""
    return f"One call in ten took more than {signs.p90_ns / signs.p50_ns:.1f} times the median."
