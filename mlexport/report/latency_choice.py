"""Which artifact a device should get, and why, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlexport.report.latency import Choice, Row, Shown
from mlexport.report.pareto import front
from mlexport.report.words import about, joined, listed, ms, plural, share, size

# Times this near to the fastest are as fast to a user, and the smaller file wins
_AS_FAST = 1.05


def reference_front(rows: Sequence[Row], subjects: Mapping[str, Shown]) -> frozenset[tuple[str, str, str]]:
    """(device, subject, kind) of the rows that no other of one device beats in time, bytes and retained quality.

    Measured and estimated times are not weighed against each other. Rows without retained quality are compared with
    each other alone.
    """
    found: set[tuple[str, str, str]] = set()
    for kind in ("measured", "estimated"):
        for known in (True, False):
            own = [row for row in rows if row.kind == kind and (_retained(row, subjects) is not None) == known]
            costs = [(row.ms, subjects[row.subject].subject.bytes, -(_retained(row, subjects) or 0)) for row in own]
            found |= {(r.device, r.subject, r.kind) for r, best in zip(own, front(costs), strict=True) if best}
    return frozenset(found)


def choose(
    device: str, rows: Sequence[Row], subjects: Mapping[str, Shown], least: float, *, refused: int = 0
) -> Choice | None:
    """The artifact for a device, of its rows at the length of reference; None where there are none.

    The fastest that keeps `least` of the full model's quality; of those that are as fast, the smallest. An artifact
    that was measured is judged by that alone. An estimate with a warning (a limit of the device that it passes, a
    figure that stands in for another) is taken only where no other keeps enough.

    Args:
        refused: artifacts that no estimate was given for.
    """
    measured = {row.subject for row in rows if row.measured}
    candidates = [row for row in rows if row.measured or row.subject not in measured]
    if not candidates:
        return None
    keeping = [row for row in candidates if (_retained(row, subjects) or 0) >= least]
    known = [row for row in candidates if _retained(row, subjects) is not None]
    # The best of what is left where nothing keeps enough
    within = next(
        own for own in (_plain(keeping), keeping, _plain(known), known, _plain(candidates), candidates) if own
    )
    if known and not keeping:
        row = max(within, key=lambda one: (_retained(one, subjects) or 0, -one.ms))
    else:
        row = _fastest(within, subjects)
    also = f" No estimate was given for {plural(refused, 'other')}; the reasons are below." if refused else ""
    text = f"{_facts(row, subjects)} {_why(row, candidates, keeping, known, least)}{also}"
    return Choice(device=device, row=row, text=text, others=tuple(_others(row, within, candidates, subjects)))


def _plain(rows: Sequence[Row]) -> list[Row]:
    """Those that nobody warns of."""
    return [row for row in rows if row.measured or not row.remarks]


def _retained(row: Row, subjects: Mapping[str, Shown]) -> float | None:
    return subjects[row.subject].subject.retained


def _bytes(row: Row, subjects: Mapping[str, Shown]) -> int:
    return subjects[row.subject].subject.bytes


def _fastest(rows: Sequence[Row], subjects: Mapping[str, Shown]) -> Row:
    best = min(row.ms for row in rows)
    return min((r for r in rows if r.ms <= best * _AS_FAST), key=lambda r: (_bytes(r, subjects), r.ms, r.subject))


def _facts(row: Row, subjects: Mapping[str, Shown]) -> str:
    """Time, size and quality, each with the word that says how it was found."""
    subject = subjects[row.subject].subject
    if row.measured:
        times = row.times
        tail = f"; 90% of {plural(times.count, 'call')} within {ms(times.p90_ms)} ms" if times else ""
        how = f"{ms(row.ms)} ms (measured: the median{tail})"
    else:
        how = f"about {about(row.ms)} ms (estimated: between {about(row.low_ms)} and {about(row.high_ms)} ms)"
    sentence = f"A text of {row.tokens} tokens takes {how}. The artifact is {size(subject.bytes)}"
    if subject.retained is not None:
        return f"{sentence} and keeps {share(subject.retained)} of the full model's search quality."
    if subject.cosine is not None:
        return f"{sentence}; its vectors' mean cosine to the reference is {subject.cosine:.4f}."
    return f"{sentence}."


def _why(row: Row, all_rows: Sequence[Row], keeping: Sequence[Row], known: Sequence[Row], least: float) -> str:
    """The rule by which it was chosen, with its numbers."""
    if len(all_rows) == 1:
        short = "" if keeping or not known else f" That is less than the {share(least)} asked for."
        return f"It is the only one that was {row.kind} here.{short}"
    if keeping:
        verb = "that keeps" if len(keeping) == 1 else "that keep"
        return f"It is {_rank(row, keeping)} {verb} at least {share(least)}."
    if known:
        plain = "" if len(_plain(known)) == len(known) else " of those without a warning"
        return f"None of {len(known)} keeps the {share(least)} asked for; this one keeps most{plain}."
    return (
        f"It is {_rank(row, all_rows)}; what they keep of the full model's search quality was not measured "
        "(`mlexport slice --eval` does), so this is about speed and size alone."
    )


def _rank(row: Row, rows: Sequence[Row]) -> str:
    """Where it stands among them by time."""
    fastest = min(one.ms for one in rows)
    if len(rows) == 1:
        return "the only one"
    if fastest < row.ms / _AS_FAST:
        return f"the fastest without a warning, of {len(rows)}"
    nearly = "" if row.ms <= fastest else f", or within {_AS_FAST - 1:.0%} of it and smaller"
    return f"the fastest of {len(rows)}{nearly}"


def _others(row: Row, pool: Sequence[Row], within: Sequence[Row], subjects: Mapping[str, Shown]) -> list[str]:
    """What the smallest, the best and, among estimates, the equally fast would be."""
    sentences: list[str] = []
    if row.measured and row.remarks:
        sentences.append(f"Its run was noisy: {joined(row.remarks)}.")
    elif row.remarks:
        sentences.append(f"Mind: {joined(row.remarks)}.")
    smallest = min(pool, key=lambda one: (_bytes(one, subjects), one.ms))
    if _bytes(smallest, subjects) < _bytes(row, subjects):
        what = f"{size(_bytes(smallest, subjects))}, {_time(smallest)}"
        sentences.append(f"Smaller: {smallest.subject}, {what}{_keeps(smallest, subjects)}.")
    known = [one for one in within if _retained(one, subjects) is not None]
    if known:
        best = max(known, key=lambda one: (_retained(one, subjects) or 0, -one.ms))
        if (_retained(best, subjects) or 0) > (_retained(row, subjects) or 0):
            what = f"{size(_bytes(best, subjects))}, {_time(best)}"
            sentences.append(f"Better: {best.subject}, {what}{_keeps(best, subjects)}.")
    if not row.measured:
        alike = [one.subject for one in pool if one is not row and not one.measured and one.low_ms <= row.high_ms]
        if alike:
            sentences.append(f"Estimates cannot tell whether {listed(alike)} would be as fast: their ranges overlap.")
    return sentences


def _time(row: Row) -> str:
    return f"{ms(row.ms)} ms (measured)" if row.measured else f"about {about(row.ms)} ms (estimated)"


def _keeps(row: Row, subjects: Mapping[str, Shown]) -> str:
    kept = _retained(row, subjects)
    return "" if kept is None else f", keeps {share(kept)}"
