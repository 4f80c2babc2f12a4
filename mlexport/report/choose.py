"""A choice in a terminal: what, why, and what it would take instead."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from mlexport.chosen import BEST, FASTEST, FLAGS, Chosen, Option, Verdict, asked, limit_of, shown
from mlexport.report.console import heading, line
from mlexport.report.words import NONE, about, joined, ms

_BY = {
    BEST: "the highest retention; of what looks alike (0.1 points) the smallest file, then the shortest vector",
    FASTEST: "the lowest latency that keeps enough",
}
_SMALLEST = "the smallest file that keeps enough, then the shortest vector"


def show_choice(console: Console, chosen: Chosen) -> None:
    """The choice, the runners-up, what was measured, and the command that goes on."""
    heading(console, f"{chosen.model} for {chosen.profile}")
    limits = [f"{FLAGS[one]} {shown(one, limit_of(chosen.limits, one))}" for one in asked(chosen.limits)]
    line(console, "asked", ", ".join(limits) or "no limits")
    if chosen.languages:
        line(console, "languages", ", ".join(chosen.languages))
    line(console, "chosen by", _BY.get(chosen.objective, _SMALLEST))
    console.print()
    if chosen.option is not None:
        first = Verdict(option=chosen.option, why="chosen")
        console.print(_table([first, *chosen.runners_up]))
    if chosen.plan:
        console.print(_table([Verdict(option=one, why="would be measured next") for one in chosen.plan]))
    if chosen.option is None and chosen.binds:
        heading(console, "nothing fits")
        known = [Verdict(option=one.option, why=f"with {FLAGS[one.limit]} alone changed") for one in chosen.relaxed]
        if not known and chosen.nearest is not None:
            known = [Verdict(option=chosen.nearest, why="the nearest")]
        if known:
            console.print(_table(known))
    console.print()
    line(
        console,
        "looked at",
        f"{chosen.options:,} cuts, {chosen.fitting:,} within size and latency; retention known of "
        f"{chosen.measured:,} ({chosen.new} models measured now)",
    )
    sources = sorted({one.source for one in _shown(chosen) if one.source is not None})
    if sources:
        line(console, "measured in", ", ".join(sources))
    for note in chosen.notes:
        line(console, "note", note)
    if chosen.recipe is not None:
        line(console, "written", chosen.recipe)
        line(console, "next", f"mlexport run {chosen.recipe}")


def _shown(chosen: Chosen) -> list[Option]:
    own = [] if chosen.option is None else [chosen.option]
    return [*own, *(one.option for one in chosen.runners_up), *(one.option for one in chosen.relaxed)]


def _table(rows: Sequence[Verdict]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("cut", "MB", "ms of 128 tokens", "kept nDCG@10", "why"):
        table.add_column(name, justify="right" if name in ("MB", "ms of 128 tokens") else "left", no_wrap=name != "why")
    for row in rows:
        one = row.option
        size = f"{one.bytes / 1e6:,.2f}" if one.bytes_measured else f"~{one.bytes / 1e6:,.2f}"
        table.add_row(one.label, size, _latency(one), _kept(one), joined([row.why]))
    return table


def _latency(option: Option) -> str:
    if option.refused is not None:
        return "refused"
    if option.ms_measured:
        return ms(option.ms)
    return f"~{about(option.ms)} [{about(option.low_ms)}–{about(option.high_ms)}]"


def _kept(option: Option) -> str:
    if option.retained is None:
        return NONE
    if option.retained_low is None or option.retained_high is None:
        return f"{option.retained:.1%}"
    return f"{option.retained:.1%} [{100 * option.retained_low:.1f}–{100 * option.retained_high:.1f}]"
