"""Runs of recipes for people: the plan, what came out, and whether it meets the demands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlexport.demands import against
from mlexport.ran import COSINE, LATENCY, RETENTION, SIZE, DemandCheck, RunPlan, RunResult
from mlexport.recipe import Recipe
from mlexport.report.artifacts import show_plan
from mlexport.report.console import heading, line, megabytes, times
from mlexport.spec import show_ms

_NAMES = {SIZE: "size", LATENCY: "latency", RETENTION: "kept of nDCG@10", COSINE: "cosine"}


def show_run_plan(console: Console, plan: RunPlan) -> None:
    """A dry run: each step with what it would do."""
    heading(console, f"{plan.name}: {plan.recipe.title} (dry run: nothing is written)")
    line(console, "for", plan.recipe.whom)
    for target in plan.there:
        line(console, "there", f"{plan.out / target}  (same recipe, same inputs)")
    for target in plan.stale:
        line(console, "in the way", f"{plan.out / target}  (another recipe or other inputs: replaced with --force)")
    if plan.slices:
        show_plan(console, plan.slices, tensors=False)
    heading(console, "then")
    for name, text in _later(plan.recipe):
        line(console, name, text)
    for check in plan.checks:
        line(console, "cannot be", f"{_subject(check)}: {against(check)} ({check.note}). Change {check.advice}", "red")


def _later(recipe: Recipe) -> Sequence[tuple[str, str]]:
    """The steps behind the artifacts, in words."""
    evaluation, demands = recipe.evaluation, recipe.demands
    on = evaluation.data or "the built-in set"
    queries = "" if evaluation.sample is None else f", {evaluation.sample:,} of its queries"
    asked = {
        "verify": f"{evaluation.verify}, against transformers",
        "retention": f"on {on}{queries}" if evaluation.retention else "",
        "latency": ", ".join(recipe.profiles),
        "demands": ", ".join(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in demands.model_dump(exclude_none=True).items()
        ),
        "pack": ", ".join(recipe.outputs.pack),
        "report": "report.html" if recipe.outputs.report else "",
    }
    return [(name, text) for name, text in asked.items() if text]


def show_run(console: Console, result: RunResult) -> None:
    """What was made, what it keeps, how fast it is, and the demands."""
    plan = result.plan
    heading(console, f"{plan.name}: {plan.recipe.title}")
    console.print(_files(result))
    if result.checks:
        heading(console, "demands")
        for check in result.checks:
            _show_check(console, check)
    for target in result.reused:
        line(console, "reused", f"{plan.out / target}  (same recipe, same inputs; --force makes it anew)")
    for platform, folder in result.packs:
        line(console, "pack", f"{folder}  ({platform})")
    if result.report is not None:
        line(console, "report", str(result.report))
    if result.steps:
        line(console, "time", times(result.steps))
    first = shlex.quote(str(result.artifacts[0].folder))
    line(console, "next", f'mlexport search {first} "photo editor"')


def _files(result: RunResult) -> Table:
    profiles = list(dict.fromkeys(latency.profile for latency in result.latencies))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("", "size", "cosine", "kept of nDCG@10", *profiles):
        table.add_column(title, justify="left" if not title else "right")
    for file in result.files:
        kept = file.retained
        shown = "–" if kept is None or kept.value is None else f"{kept.value:.1%}"
        if kept is not None and kept.low is not None and kept.high is not None:
            shown += f" [{kept.low:.1%}–{kept.high:.1%}]"
        cells = [megabytes(file.bytes), "–" if file.cosine is None else f"{file.cosine:.5f}", shown]
        for profile in profiles:
            found = [one for one in result.latencies if (one.file, one.profile) == (file.name, profile)]
            cells.append(_milliseconds(found[0].ms, found[0].low_ms, found[0].high_ms) if found else "–")
        table.add_row(file.name, *cells)
    return table


def _milliseconds(ms: float | None, low: float | None, high: float | None) -> str:
    if ms is None:
        return "refused"
    return f"{show_ms(ms)} ms" if low is None or high is None else f"~{show_ms(ms)} ms ({show_ms(low)}–{show_ms(high)})"


def _show_check(console: Console, check: DemandCheck) -> None:
    note = f" ({check.note})" if check.note and check.found is not None else ""
    text = f"{_subject(check)}: {against(check)}{note}"
    if check.met:
        console.print(Text("met     ", style="green") + Text(text), soft_wrap=True)
    else:
        console.print(Text("missed  ", style="red") + Text(f"{text}. Change {check.advice}"), soft_wrap=True)


def _subject(check: DemandCheck) -> str:
    where = "" if check.profile is None else f" on {check.profile}"
    return f"{_NAMES[check.demand]} of {check.file}{where}"
