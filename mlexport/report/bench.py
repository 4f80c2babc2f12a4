"""What `mlexport bench` measured, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from mlexport.latency import BenchResult, Engine, Ratio, Run
from mlexport.percentiles import NS_PER_MS, Times, per_second, times
from mlexport.report.console import heading, line, megabytes


def show_bench(console: Console, result: BenchResult) -> None:
    """Where it was measured, a row for each run, what ran them, and what makes them hard to trust."""
    environment = result.environment
    heading(console, f"measured {_place(result.where)}, profile {result.profile}")
    line(console, "machine", _machine(environment))
    if moments := _moments(environment):
        line(console, "load", moments)
    for subject in result.subjects:
        [*engines] = dict.fromkeys(_engine(run.engine) for run in result.runs if run.subject == subject.name)
        line(console, subject.name, f"{subject.artifact}, {megabytes(subject.bytes)}")
        for engine in engines:
            line(console, "", engine)
    console.print()
    console.print(_table(result))
    console.print()
    if result.ratios:
        first = result.subjects[0].name
        console.print(f"times as long as {first}; 95% intervals over the rounds", style="italic", soft_wrap=True)
        console.print(_ratios(result))
        console.print()
    line(console, "tokens/s", "of all streams together; from text: tokenising and model; MB: resident after the calls")
    line(console, "p99", "~ is of fewer than 100 calls: near the slowest one")
    line(console, "calls", _calls(result.runs))
    _show_noise(console, result)


def milliseconds(value: float) -> str:
    """Three digits, and no more than microseconds."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _table(result: BenchResult) -> Table:
    several = len(result.subjects) > 1
    batches, streams = ({run.batch for run in result.runs}, {run.streams for run in result.runs})
    table = Table(box=None, pad_edge=False)
    names = ["tokens", *(["batch"] if batches != {1} else []), *(["streams"] if streams != {1} else [])]
    for name in names:
        table.add_column(name, justify="right")
    if several:
        table.add_column("artifact")
    for name in ("p50 ms", "p90", "p99", "tokens/s", "from text", "first", "load", "MB", "peak"):
        table.add_column(name, justify="right", no_wrap=True)
    setting = None
    for run in result.runs:
        here = (run.tokens, run.batch, run.streams)
        if several and setting not in (None, here):
            table.add_section()
        numbers = {"tokens": run.tokens, "batch": run.batch, "streams": run.streams}
        # A setting is named once, above its artifacts
        keys = ["" if setting == here else str(numbers[name]) for name in names]
        table.add_row(*keys, *([run.subject] if several else []), *_cells(run))
        setting = here
    return table


def _cells(run: Run) -> list[str]:
    memory = [_or_dash(_of_bytes, size) for size in (run.resident_bytes, run.peak_bytes)]
    loading = [_or_dash(_of_ns, time) for time in (run.first_call_ns, run.load_ns)]
    if not run.samples_ns:
        # Another project's runner, which keeps none
        median = run.summary_ns.get("median")
        rate = f"{per_second(run.tokens * run.batch, median):,.0f}" if median else "–"
        return [_or_dash(_of_ns, median), "–", "–", rate, "–", *loading, *memory]
    found = times(run.samples_ns)
    texts = per_second(len(run.samples_ns) * run.batch, run.wall_ns or sum(run.samples_ns))
    return [
        milliseconds(found.p50_ms),
        milliseconds(found.p90_ms),
        _p99(found),
        f"{texts * run.tokens:,.0f}",
        milliseconds(times(run.end_to_end_ns).p50_ms) if run.end_to_end_ns else "–",
        *loading,
        *memory,
    ]


def _of_ns(time: int) -> str:
    return milliseconds(time / NS_PER_MS)


def _of_bytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _or_dash(show: Callable[[int], str], value: int | None) -> str:
    return "–" if value is None else show(value)


def _p99(found: Times) -> str:
    return ("" if found.holds(99) else "~") + milliseconds(found.p99_ms)


def _ratios(result: BenchResult) -> Table:
    """A row for each artifact but the first, a column for each setting."""
    table = Table(box=None, pad_edge=False)
    table.add_column("artifact")
    settings = list(dict.fromkeys((one.tokens, one.batch, one.streams) for one in result.ratios))
    for tokens, batch, streams in settings:
        shape = f" × {batch}" if batch > 1 else ""
        table.add_column(f"{tokens}{shape}" + (f", {streams} streams" if streams > 1 else ""), justify="right")
    found = {(one.subject, one.tokens, one.batch, one.streams): one for one in result.ratios}
    for subject in result.subjects[1:]:
        table.add_row(subject.name, *(_ratio(found[subject.name, *setting]) for setting in settings))
    return table


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.value:.2f} [{ratio.low:.2f}–{ratio.high:.2f}]"


def _place(where: str) -> str:
    return "on this machine" if where == "here" else f"on {where}"


def _machine(environment: Mapping[str, object]) -> str:
    parts = [
        environment.get("machine"),
        environment.get("processor"),
        f"{environment.get('usable_cores') or environment.get('cores') or '?'} cores",
        "virtual" if environment.get("virtual") else None,
        environment.get("governor"),
        environment.get("system"),
    ]
    return ", ".join(str(part) for part in parts if part)


def _moments(environment: Mapping[str, object]) -> str:
    found = []
    for name in ("before", "after"):
        moment = environment.get(name)
        if isinstance(moment, Mapping):
            mhz = f", {moment['mhz']:,.0f} MHz" if moment.get("mhz") else ""
            warm = f", {moment['celsius']:.0f} °C" if moment.get("celsius") else ""
            found.append(f"{moment.get('load')} {name}{mhz}{warm}")
    return "; ".join(found)


def _engine(engine: Engine) -> str:
    options = "".join(f", {key}={value}" for key, value in engine.options.items())
    threads = f", {engine.threads} thread{'s' if engine.threads != 1 else ''}" if engine.threads else ""
    total = sum(engine.nodes.values())
    what = "layers" if engine.runtime == "llama.cpp" else "nodes"
    shares = ", ".join(f"{name} {count / total:.0%}" for name, count in engine.nodes.items())
    taken = f"; {total:,} {what}: {shares}" if total else ""
    return f"{engine.runtime} {engine.version}, {engine.provider}{options}{threads}{taken}"


def _calls(runs: Sequence[Run]) -> str:
    counts = [len(run.samples_ns) for run in runs]
    if not any(counts):
        return "the runner gives no single ones"
    low, high = f"{min(counts):,}", f"{max(counts):,}"
    return f"{low if low == high else f'{low} to {high}'} a row, the first ones left out"


def _show_noise(console: Console, result: BenchResult) -> None:
    several = len(result.subjects) > 1
    for run in result.runs:
        if run.noise:
            batch = f" × {run.batch}" if run.batch > 1 else ""
            streams = f", {run.streams} streams" if run.streams > 1 else ""
            whose = f", {run.subject}" if several else ""
            line(console, "noise", f"{run.tokens} tokens{batch}{streams}{whose}: {' '.join(run.noise)}", style="yellow")
    if not result.trusted:
        line(console, "NOT TRUSTED", "measure again on a quieter machine, or longer (--min-seconds)", style="yellow")
