"""Results of several files joined into the rows of one report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mlexport.latency import BenchResult, Estimated, EstimateResult, Run, Subject
from mlexport.percentiles import NS_PER_MS, per_second, times
from mlexport.report.described import Described
from mlexport.report.latency import Compared, Device, Refused, Row, Shown
from mlexport.report.units import unit_of

Result = BenchResult | EstimateResult


def join_subjects(results: Sequence[Result]) -> tuple[tuple[Shown, ...], list[dict[str, str]]]:
    """Artifacts of all files, each once, and for each file its names -> those of the report.

    The same file of weights in the same form is the same artifact, whatever else is known of it; what one file does
    not know (cosine, retention) is taken from another that does.
    """
    found: dict[tuple[str, ...], Subject] = {}
    keys: list[dict[str, tuple[str, ...]]] = []
    for result in results:
        own: dict[str, tuple[str, ...]] = {}
        for subject in result.subjects:
            key = _identity(subject)
            known = found.get(key, subject)
            found[key] = replace(
                known,
                cosine=subject.cosine if known.cosine is None else known.cosine,
                retained=subject.retained if known.retained is None else known.retained,
            )
            own[subject.name] = key
        keys.append(own)
    names = dict(zip(found, _distinct(list(found.values())), strict=True))
    shown = tuple(Shown(number=i, name=names[key], subject=one) for i, (key, one) in enumerate(found.items(), start=1))
    return shown, [{name: names[key] for name, key in own.items()} for own in keys]


def _identity(subject: Subject) -> tuple[str, ...]:
    form = (subject.model, subject.spec, subject.target, subject.variant, subject.precision)
    return (subject.name, subject.sha256 or f"{subject.bytes} bytes", *form)


def _distinct(subjects: Sequence[Subject]) -> list[str]:
    """Their names; those that several have are followed by what tells them apart."""
    names: list[str] = []
    for subject in subjects:
        same = [one for one in subjects if one.name == subject.name]
        name = subject.name
        if len(same) > 1:
            name += " [not made]" if subject.sha256 is None else f" [{subject.sha256[:8]}]"
        while name in names:
            name += "′"
        names.append(name)
    return names


def join_devices(
    results: Sequence[Result], described: Mapping[str, Described]
) -> tuple[tuple[Device, ...], list[dict[str, str]]]:
    """Devices of all files, each once, and for each file its profiles -> names of the report."""
    machines: dict[str, list[tuple[str, str]]] = {}
    for result in results:
        if isinstance(result, BenchResult):
            known = machines.setdefault(result.profile, [])
            known += [machine for machine in [_machine(result)] if machine not in known]
    devices: dict[str, Device] = {}
    names: list[dict[str, str]] = []
    for result in results:
        if isinstance(result, BenchResult):
            several = len(machines[result.profile]) > 1
            where, processor = _machine(result)
            suffix = " · ".join(part for part in (processor, "" if where == "here" else where) if part)
            name = f"{result.profile} ({suffix})" if several and suffix else result.profile
            devices[name] = _measured_device(name, result, devices.get(name), described.get(result.profile))
            names.append({result.profile: name})
        else:
            names.append({one.profile: one.profile for one in result.estimates})
            for profile in names[-1]:
                devices.setdefault(profile, _estimated_device(profile, described.get(profile)))
    return tuple(devices.values()), names


def _machine(result: BenchResult) -> tuple[str, str]:
    return result.where, str(result.environment.get("processor") or "")


def _measured_device(name: str, result: BenchResult, known: Device | None, described: Described | None) -> Device:
    providers = [run.engine.provider for run in result.runs]
    method = () if known is None else known.method
    return Device(
        name=name,
        words="" if described is None else described.words,
        unit=unit_of(result.profile, providers) or (None if described is None else described.unit),
        where=result.where,
        environment=result.environment,
        method=tuple(dict.fromkeys([*method, *result.method])),
        trusted=result.trusted and (known is None or known.trusted),
    )


def _estimated_device(profile: str, described: Described | None) -> Device:
    return Device(
        name=profile,
        words="" if described is None else described.words,
        unit=unit_of(profile, ()) if described is None else described.unit,
        where=None,
        environment={},
        method=(),
        trusted=True,
    )


def measured_rows(result: BenchResult, subjects: dict[str, str], devices: dict[str, str]) -> Iterable[Row]:
    """A row a run; a run with neither samples nor a median has none."""
    for run in result.runs:
        if run.samples_ns or "median" in run.summary_ns:
            yield _measured_row(run, subjects.get(run.subject, run.subject), devices[result.profile])


def _measured_row(run: Run, subject: str, device: str) -> Row:
    # Another project's runner may keep no samples, and give a median with the least and the most
    found = times(run.samples_ns) if run.samples_ns else None
    summary = {name: value / NS_PER_MS for name, value in run.summary_ns.items()}
    middle = summary["median"] if found is None else found.p50_ms
    wall = max(run.wall_ns or 0, 1)
    by_clock = found is not None and run.wall_ns is not None
    calls, calls_ns = (len(run.samples_ns), wall) if by_clock else (1, round(middle * NS_PER_MS))
    return Row(
        subject=subject,
        device=device,
        kind="measured",
        runtime=run.engine.runtime,
        version=run.engine.version,
        provider=run.engine.provider,
        threads=run.engine.threads,
        tokens=run.tokens,
        batch=run.batch,
        streams=run.streams,
        ms=middle,
        low_ms=middle,
        high_ms=summary.get("most", middle) if found is None else found.p99_ms,
        times=found,
        tokenise=times(run.tokenise_ns) if run.tokenise_ns else None,
        end_to_end=times(run.end_to_end_ns) if run.end_to_end_ns else None,
        tokens_per_s=per_second(calls * run.batch * run.tokens, max(calls_ns, 1)),
        load_ms=_ms(run.load_ns),
        first_call_ms=_ms(run.first_call_ns),
        warm_calls=run.warm_calls,
        cores_busy=None if run.cpu_ns is None else run.cpu_ns / wall,
        memory_low=run.resident_bytes,
        memory_high=run.peak_bytes,
        nodes=run.engine.nodes,
        remarks=run.noise,
        coverage=None,
        samples_ns=run.samples_ns,
        parts=(),
        figures=(),
    )


def _ms(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / NS_PER_MS


def estimated_rows(result: EstimateResult, subjects: dict[str, str]) -> Iterable[Row | Refused]:
    """A row an estimate, or why there is none."""
    for one in result.estimates:
        name = subjects.get(one.subject, one.subject)
        if one.refused is not None or one.ms is None:
            reason = one.refused or "no reason given"
            yield Refused(
                subject=name,
                device=one.profile,
                runtime=one.runtime,
                tokens=one.tokens,
                batch=one.batch,
                reason=reason,
            )
        else:
            yield _estimated_row(one, one.ms, name)


def _estimated_row(one: Estimated, ms: float, subject: str) -> Row:
    return Row(
        subject=subject,
        device=one.profile,
        kind="estimated",
        runtime=one.runtime,
        version="",
        provider=None,
        threads=None,
        tokens=one.tokens,
        batch=one.batch,
        streams=1,
        ms=ms,
        low_ms=ms if one.low_ms is None else one.low_ms,
        high_ms=ms if one.high_ms is None else one.high_ms,
        times=None,
        tokenise=None,
        end_to_end=None,
        tokens_per_s=1000 * one.tokens * one.batch / ms if ms > 0 else 0.0,
        load_ms=None,
        first_call_ms=None,
        warm_calls=None,
        cores_busy=None,
        memory_low=one.memory_bytes,
        memory_high=one.memory_bytes,
        nodes={},
        remarks=one.warnings,
        coverage=one.coverage,
        samples_ns=(),
        parts=one.parts,
        figures=one.figures,
    )


def compared(result: BenchResult, subjects: dict[str, str], devices: dict[str, str]) -> Iterable[Compared]:
    """The ratios of an interleaved run."""
    for ratio in result.ratios:
        own = replace(
            ratio, subject=subjects.get(ratio.subject, ratio.subject), base=subjects.get(ratio.base, ratio.base)
        )
        yield Compared(device=devices[result.profile], ratio=own)
