"""The tables of a latency report, by device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlexport.percentiles import NS_PER_MS
from mlexport.report.latency import Report, Row
from mlexport.report.tables import Cell, Table, cells, columns
from mlexport.report.words import NONE, about, joined, ms, share, size, time


def recommended(report: Report) -> Table:
    """What each device should get."""
    rows = []
    for choice in report.choices:
        row, shown = choice.row, report.shown(choice.row.subject)
        what = _name(report, row)
        numbers = (_span(row), str(row.tokens), size(shown.subject.bytes), share(shown.subject.retained))
        rows.append((Cell(text=row.device), what, _kind(row), *cells(*numbers)))
    names = columns("device", "<artifact", "figure", ">ms", ">tokens", ">size", ">kept")
    note = (
        "ms: the median of what was measured, with its 99th percentile; an estimate with its range. "
        "kept: nDCG@10 as a share of the full model's."
    )
    return Table(title="Recommended", columns=names, rows=tuple(rows), note=note)


def device_tables(report: Report, device: str) -> Iterator[Table]:
    """Every table of one device that has rows."""
    for table in (
        _reference(report, device),
        _lengths(report, device),
        _load(report, device),
        _ratios(report, device),
        _refused(report, device),
        _runs(report, device),
        _parts(report, device),
        _figures(report, device),
    ):
        if table.rows:
            yield table


def _name(report: Report, row: Row) -> Cell:
    shown = report.shown(row.subject)
    return Cell(text=f"{shown.number}. {shown.name}")


def _kind(row: Row) -> Cell:
    return Cell(text=row.kind, kind=row.kind)


def _span(row: Row) -> str:
    """The median and p99, or the estimate and its range."""
    if row.measured:
        return f"{ms(row.ms)} (p99 {_p99(row)})"
    return f"{about(row.ms)} ({about(row.low_ms)}–{about(row.high_ms)})"


def _p99(row: Row) -> str:
    """The 99th percentile; with ~ where the sample is too small for it."""
    return NONE if row.times is None else f"{'' if row.times.holds(99) else '~'}{ms(row.times.p99_ms)}"


def _reference(report: Report, device: str) -> Table:
    """A row an artifact and kind at the length of reference."""
    rows = []
    for row in report.reference(device):
        subject = report.shown(row.subject).subject
        best = (row.device, row.subject, row.kind) in report.front
        ranged = NONE if row.measured else f"{about(row.low_ms)}–{about(row.high_ms)}"
        tail = (ms(None if row.times is None else row.times.p90_ms), _p99(row), ranged)
        whole = ms(None if row.end_to_end is None else row.end_to_end.p50_ms)
        cosine = NONE if subject.cosine is None else f"{subject.cosine:.4f}"
        facts = (*tail, whole, size(subject.bytes), share(subject.retained), cosine, size(row.memory_high))
        front = Cell(text="★", kind="best") if best else Cell(text="")
        rows.append((_name(report, row), _kind(row), Cell(text=time(row.ms, row.kind)), *cells(*facts), front))
    names = columns(
        "<artifact", "figure", ">ms (p50)", ">p90", ">p99", ">range", ">with tokeniser", ">size", ">kept", ">cosine"
    )
    length = report.lengths.get(device, report.tokens)
    note = (
        "with tokeniser: text to vector, median. kept: nDCG@10 as a share of the full model's. peak memory: of the "
        "whole process. ★: nothing else here is faster, smaller and better at once."
    )
    return Table(
        title=f"One text of {length} tokens",
        columns=(*names, *columns(">peak memory", "front")),
        rows=tuple(rows),
        note=note,
    )


def _lengths(report: Report, device: str) -> Table:
    """Artifacts by lengths: the three percentiles, or the estimate with its range."""
    own = [row for row in report.of(device) if row.single]
    lengths = sorted({row.tokens for row in own})
    found = {(row.subject, row.kind, row.tokens): row for row in own}
    rows = []
    order = {(report.shown(row.subject).number, not row.measured): (row.subject, row.kind) for row in own}
    for _, (subject, kind) in sorted(order.items()):
        line = [found.get((subject, kind, tokens)) for tokens in lengths]
        first = next(row for row in line if row is not None)
        rows.append((_name(report, first), _kind(first), *cells(*map(_percentiles, line))))
    return Table(
        title="By length of the text, in tokens",
        columns=(*columns("<artifact", "figure"), *columns(*(f">{tokens:,}" for tokens in lengths))),
        rows=tuple(rows) if len(lengths) > 1 else (),
        note="ms: p50 / p90 / p99 of what was measured; an estimate with its range.",
    )


def _percentiles(row: Row | None) -> str:
    if row is None:
        return NONE
    if not row.measured:
        return _span(row)
    return f"{ms(row.ms)} / {ms(None if row.times is None else row.times.p90_ms)} / {_p99(row)}"


def _load(report: Report, device: str) -> Table:
    """Throughput: batches and streams beside one text at a time of the same length."""
    own = report.of(device)
    lengths = {row.tokens for row in own if not row.single}
    rows = []
    for row in own:
        if row.tokens in lengths:
            p90 = ms(None if row.times is None else row.times.p90_ms)
            busy = NONE if row.cores_busy is None else f"{row.cores_busy:.1f}"
            setting = (str(row.tokens), str(row.batch), str(row.streams))
            numbers = (_plain(row), p90, _p99(row), f"{row.tokens_per_s:,.0f}", busy)
            rows.append((_name(report, row), _kind(row), *cells(*setting, *numbers)))
    names = columns("<artifact", "figure", ">tokens", ">batch", ">streams", ">ms (p50)", ">p90", ">p99", ">tokens/s")
    note = "ms of a call with the whole batch; streams: calls at the same time; tokens/s: of all of them, by the clock."
    return Table(
        title="Throughput by batch and streams",
        columns=(*names, *columns(">cores busy")),
        rows=tuple(rows),
        note=note,
    )


def _plain(row: Row) -> str:
    return time(row.ms, row.kind) if row.measured else _span(row)


def _ratios(report: Report, device: str) -> Table:
    """Ratios of artifacts that were measured in turn."""
    rows = []
    for one in report.compared:
        if one.device == device:
            ratio = one.ratio
            verdict = "no difference shown" if ratio.low <= 1 <= ratio.high else "slower" if ratio.low > 1 else "faster"
            found = f"{ratio.value:.3f} [{ratio.low:.3f}–{ratio.high:.3f}]"
            setting = (str(ratio.tokens), str(ratio.batch), str(ratio.streams))
            rows.append(cells(ratio.subject, ratio.base, *setting, found, verdict))
    names = columns("<artifact", "<against", ">tokens", ">batch", ">streams", ">time, as a ratio", "so it is")
    note = "Measured in turn, round by round; in brackets the 95% interval of the ratio of medians."
    return Table(title="Compared in one run", columns=names, rows=tuple(rows), note=note)


def _refused(report: Report, device: str) -> Table:
    """Estimates that were not given; lengths with the same reason in one row."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for one in report.refused:
        if one.device == device:
            setting = f"{one.tokens}" + ("" if one.batch == 1 else f" × {one.batch}")
            found.setdefault((one.subject, one.runtime, one.reason), []).append(setting)
    rows = tuple(
        (Cell(text="refused", kind="refused"), *cells(subject, runtime, ", ".join(settings), reason))
        for (subject, runtime, reason), settings in found.items()
    )
    names = columns("figure", "<artifact", "runtime", "tokens", "<why")
    return Table(title="Refused: no estimate is given", columns=names, rows=rows)


def _calls(row: Row) -> str:
    """Samples kept; a runner of another project may keep none."""
    return NONE if row.times is None else f"{row.times.count:,}"


def _runs(report: Report, device: str) -> Table:
    """How each artifact was run."""
    rows = []
    for row in report.of(device):
        if row.measured:
            nodes = ", ".join(f"{name} {count}" for name, count in row.nodes.items()) or NONE
            engine = (f"{row.runtime} {row.version}", str(row.provider), str(row.threads or NONE), nodes)
            setting = (str(row.tokens), str(row.batch), str(row.streams))
            calls = (ms(row.load_ms), ms(row.first_call_ms), str(row.warm_calls), _calls(row))
            kept = (size(row.memory_low), size(row.memory_high))
            remarks = joined(row.remarks) or "quiet"
            rows.append((_name(report, row), *cells(*setting, *engine, *calls, *kept, remarks)))
    names = columns(
        "<artifact", ">tokens", ">batch", ">streams", "runtime", "provider", ">threads", "nodes by provider"
    )
    more = columns(">load, ms", ">first call, ms", ">warm-up calls", ">calls", ">memory", ">peak", "noise")
    note = "Every run in a process of its own; load and first call are apart from the calls that are counted."
    return Table(title="How it was run", columns=(*names, *more), rows=tuple(rows), note=note, folded=True)


def _parts(report: Report, device: str) -> Table:
    """What the estimates of the length of reference consist of."""
    rows = []
    for row in report.reference(device):
        for part in row.parts:
            moved = (f"{part.giga_operations:.3g}", f"{part.megabytes:.3g}", about(part.ms))
            rows.append((_name(report, row), *cells(part.name, *moved, part.bound)))
    names = columns("<artifact", "part", ">10⁹ operations", ">MB moved", ">ms", "bound by")
    return Table(title="What the estimates consist of", columns=names, rows=tuple(rows), folded=True)


def _figures(report: Report, device: str) -> Table:
    """Figures of the profile that the estimates rest on, each once."""
    used = dict.fromkeys(figure for row in report.of(device) for figure in row.figures)
    rows = tuple(cells(one.name, f"{one.value:g} {one.unit}", one.grade, one.source) for one in used)
    names = columns("figure", ">value", "grade", "<source")
    note = "grade: how far to trust it; measured, published by the maker, by a third party, derived, assumed."
    return Table(title="What the estimates rest on", columns=names, rows=rows, note=note, folded=True)


def environment(report: Report, device: str) -> Table:
    """What a measurement ran on."""
    own = next(one for one in report.devices if one.name == device)
    rows = tuple(
        cells(*_fact(name, value)) for name, value in own.environment.items() if value not in (None, [], {}, ())
    )
    return Table(title=device, columns=columns("<environment", "<value"), rows=rows)


def _fact(name: str, value: object) -> tuple[str, str]:
    """A name in words and its value; bytes as MB."""
    if name.endswith("_bytes") and isinstance(value, int):
        return name.removesuffix("_bytes").replace("_", " "), size(value)
    if name.endswith("_ns") and isinstance(value, int | float):
        return name.removesuffix("_ns").replace("_", " "), f"{ms(value / NS_PER_MS)} ms"
    return name.replace("_", " "), _value(value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        known = [(name, one) for name, one in value.items() if one is not None]
        return ", ".join(" ".join(_fact(name, one)) for name, one in known)
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def sources(report: Report) -> Table:
    """The files."""
    rows: Sequence[tuple[Cell, ...]] = [
        (*cells(one.file), Cell(text=one.kind, kind=one.kind), *cells(one.created, one.tool, one.sha256[:16]))
        for one in report.sources
    ]
    return Table(title="Files", columns=columns("<file", "kind", "created", "by", "sha256"), rows=tuple(rows))
