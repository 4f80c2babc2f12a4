"""Numbers as a report writes them."""

from __future__ import annotations

from collections.abc import Iterable

from mlexport.latency import MEASURED
from mlexport.report.console import megabytes

NONE = "–"


def ms(value: float | None) -> str:
    """Milliseconds with three digits that count, such as "4.12", "38.6", "1,204"."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def about(value: float | None) -> str:
    """Milliseconds of an estimate: two digits that count, for it is not surer than that."""
    if value is None:
        return NONE
    if value >= 9.95:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2g}"


def time(value: float, kind: str) -> str:
    """Milliseconds, with as many digits as its kind is sure of."""
    return ms(value) if kind == MEASURED else about(value)


def share(value: float | None) -> str:
    """A share in percent with one digit behind the point."""
    return NONE if value is None else f"{100 * value:.1f}%"


def size(count: int | None) -> str:
    """Bytes in MB."""
    return NONE if count is None else megabytes(count)


def plural(count: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(sentences: Iterable[str]) -> str:
    """Sentences as the parts of another one, without the point at its end."""
    return "; ".join(sentence.rstrip(".") for sentence in sentences)


def listed(names: list[str], most: int = 3) -> str:
    """Names in a sentence, at most so many."""
    rest = len(names) - most
    if rest > 0:
        return f"{', '.join(names[:most])} and {rest} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else NONE
