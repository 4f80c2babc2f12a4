"""Files of results to one report. Pure, but for the version of mlexport that it notes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlexport.errors import UsageError
from mlexport.latency import BenchResult
from mlexport.report import latency_gather as gather
from mlexport.report.described import Described
from mlexport.report.latency import (
    DEFAULT_MIN_RETENTION,
    DEFAULT_TOKENS,
    Choice,
    Compared,
    Device,
    Refused,
    Report,
    Row,
    Shown,
    Source,
    reference_rows,
)
from mlexport.report.latency_choice import choose, reference_front
from mlexport.report.pareto import Point
from mlexport.report.words import joined, listed, plural

_TITLE = "What runs how fast, and where"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A result and the file that it was read from."""

    source: Source
    result: gather.Result


def build(
    results: Sequence[Named],
    *,
    tool: str,
    created: str,
    title: str | None = None,
    tokens: int = DEFAULT_TOKENS,
    min_retention: float = DEFAULT_MIN_RETENTION,
    described: Mapping[str, Described] | None = None,
    points: Sequence[Point] = (),
    more: Sequence[Source] = (),
) -> Report:
    """Join results, choose for each device, and say so.

    Args:
        tokens: the length that the summary speaks of; a device without it is spoken of at the nearest.
        described: profiles that are known by name.
        points: of a sweep; more: the files that they are from.

    Raises:
        UsageError: nothing to report, or a file whose numbers cannot be: names the file.
    """
    plain = [named.result for named in results]
    subjects, subject_names = gather.join_subjects(plain)
    devices, device_names = gather.join_devices(plain, {} if described is None else described)
    for named, own in zip(results, subject_names, strict=True):
        _check(named, own)
    found = [_found(*each) for each in zip(plain, subject_names, device_names, strict=True)]
    rows = [one for parts in found for one in parts if isinstance(one, Row)]
    refused = [one for parts in found for one in parts if isinstance(one, Refused)]
    ratios = [one for parts in found for one in parts if isinstance(one, Compared)]
    if not rows and not refused and not points:
        raise UsageError("nothing to report: no file has a run, an estimate or a point of a sweep")
    by_name = {one.name: one for one in subjects}
    lengths = _lengths(rows, tokens)
    references = {name: _reference(rows, name, length) for name, length in lengths.items()}
    choices = _choices(references, refused, by_name, min_retention)
    return Report(
        title=title or _TITLE,
        tool=tool,
        created=created,
        tokens=tokens,
        lengths=lengths,
        min_retention=min_retention,
        sources=(*(named.source for named in results), *more),
        subjects=subjects,
        devices=devices,
        rows=tuple(rows),
        refused=tuple(refused),
        compared=tuple(ratios),
        front=frozenset().union(*(reference_front(own, by_name) for own in references.values())),
        choices=choices,
        summary=tuple(_summary(subjects, devices, rows, refused, choices)),
        warnings=tuple(_warnings(devices, rows, by_name)),
        method=tuple(dict.fromkeys(s for r in plain if not isinstance(r, BenchResult) for s in r.method)),
        points=tuple(points),
    )


def _found(result: gather.Result, subjects: dict[str, str], devices: dict[str, str]) -> list[Row | Refused | Compared]:
    """What one file says, in the report's names."""
    if isinstance(result, BenchResult):
        return [*gather.measured_rows(result, subjects, devices), *gather.compared(result, subjects, devices)]
    return list(gather.estimated_rows(result, subjects))


def _choices(
    references: Mapping[str, tuple[Row, ...]], refused: Sequence[Refused], subjects: Mapping[str, Shown], least: float
) -> tuple[Choice, ...]:
    """One for each device that has a latency at its length of reference."""
    found = []
    for device, rows in references.items():
        without = {one.subject for one in refused if one.device == device} - {row.subject for row in rows}
        found.append(choose(device, rows, subjects, least, refused=len(without)))
    return tuple(one for one in found if one is not None)


def _check(named: Named, own: Mapping[str, str]) -> None:
    """What the form of a file does not say: names that exist, times that can be."""
    result, file = named.result, named.source.file
    parts = result.runs if isinstance(result, BenchResult) else result.estimates
    for part in parts:
        if part.subject not in own:
            raise UsageError(f"{file}: '{part.subject}' has a time, but is not among the file's subjects")
    numbers: list[float] = []
    if isinstance(result, BenchResult):
        numbers += [sample for run in result.runs for sample in (*run.samples_ns, *run.end_to_end_ns)]
        numbers += [value for ratio in result.ratios for value in (ratio.value, ratio.low, ratio.high)]
    else:
        numbers += [v for one in result.estimates for v in (one.ms, one.low_ms, one.high_ms) if v is not None]
    wrong = [number for number in numbers if not (math.isfinite(number) and number > 0)]
    if wrong:
        raise UsageError(f"{file}: a time or ratio of {wrong[0]} cannot be; it was not written by mlexport")


def _lengths(rows: Sequence[Row], tokens: int) -> dict[str, int]:
    """Device -> the length nearest to `tokens`, by ratio, of which one text at a time was measured or estimated."""
    found: dict[str, set[int]] = {}
    for row in rows:
        if row.single and row.tokens > 0:
            found.setdefault(row.device, set()).add(row.tokens)
    return {name: min(own, key=lambda n: (abs(math.log(n / tokens)), n)) for name, own in found.items()}


def _reference(rows: Sequence[Row], device: str, length: int) -> tuple[Row, ...]:
    return reference_rows([row for row in rows if row.device == device and row.tokens == length])


def _summary(
    subjects: Sequence[Shown],
    devices: Sequence[Device],
    rows: Sequence[Row],
    refused: Sequence[Refused],
    choices: Sequence[Choice],
) -> Iterator[str]:
    """What is in the report, what of it was measured, and how far the rest is to be trusted."""
    measured = list(dict.fromkeys(row.device for row in rows if row.measured))
    estimated = list(dict.fromkeys(row.device for row in rows if not row.measured))
    how = [f"measured on {listed(measured, 6)}"] if measured else []
    how += [f"estimated for {listed(estimated, 6)}"] if estimated else []
    if subjects:
        found = f"{plural(len(subjects), 'artifact')} on {plural(len(devices), 'device')}"
        yield f"{found}: {'; '.join(how)}." if how else f"{found}."
    if choices:
        yield _common(choices)
    if measured:
        yield "Measured figures are times that were taken on the device."
    if estimated:
        coverage = [row.coverage for row in rows if row.coverage is not None]
        checked = (
            f"; where such estimates were checked, {min(coverage):.0%} of the measured times fell into the range"
            if coverage
            else ""
        )
        yield (
            f"Estimated figures are computed from what is known of the device, each with a range{checked}. Measure "
            "before you decide between estimates whose ranges overlap."
        )
    if refused:
        names = listed(list(dict.fromkeys(one.device for one in refused)), 6)
        count = len({(one.device, one.subject) for one in refused})
        yield f"No estimate was given for {plural(count, 'artifact')} ({names}); the reasons are below."


def _common(choices: Sequence[Choice]) -> str:
    """The artifact that most devices should get."""
    counts = Counter(choice.row.subject for choice in choices)
    name, count = counts.most_common(1)[0]
    if len(choices) == 1:
        return f"Recommended on {choices[0].device}: {name}."
    if count == len(choices):
        return f"Recommended everywhere: {name}."
    if count == 1:
        return "Each device is recommended another artifact."
    return f"Recommended on {count} of {len(choices)} devices: {name}."


def _warnings(devices: Sequence[Device], rows: Sequence[Row], subjects: Mapping[str, Shown]) -> Iterator[str]:
    """What keeps a figure from being trusted."""
    for device in devices:
        noisy = [row for row in rows if row.device == device.name and row.measured and row.remarks]
        count = sum(row.device == device.name and row.measured for row in rows)
        if noisy:
            reasons = listed(list(dict.fromkeys(remark.rstrip(".") for row in noisy for remark in row.remarks)), 3)
            again = "" if device.trusted else " Measure again on a quiet machine."
            yield f"{device.name}: {len(noisy)} of {count} measured runs are hard to trust ({reasons}).{again}"
        elif not device.trusted:
            yield f"{device.name}: its file says that a run was too noisy to trust. Measure again on a quiet machine."
        short = [row for row in rows if row.device == device.name and row.times and not row.times.holds(99)]
        if short:
            yield (
                f"{device.name}: {len(short)} of {count} measured runs have fewer than 100 calls: their p99 is close "
                "to the slowest call, and is marked with ~."
            )
    over = {(row.device, row.subject): row.remarks for row in rows if not row.measured and row.remarks}
    for (device_name, subject), remarks in over.items():
        yield f"{device_name}: {subject}: {joined(remarks)}."
    unknown = [one.name for one in subjects.values() if one.subject.retained is None]
    if unknown:
        whose = "any artifact" if len(unknown) == len(subjects) else listed(unknown)
        yield f"Retained quality was not measured for {whose}; `mlexport slice --eval` does."
