"""A recipe's demands against what was found: which one binds, by how much, and what to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mlexport.ran import COSINE, LATENCY, RETENTION, SIZE, DemandCheck, FileLatency, ModelFile
from mlexport.recipe import Demands
from mlexport.spec import FLOAT_PRECISIONS, Target, parse_size, show_ms


def check_demands(
    demands: Demands, files: Sequence[ModelFile], latencies: Sequence[FileLatency]
) -> tuple[DemandCheck, ...]:
    """Every demand of every model file, in the order of the schema."""
    return (
        *size_checks(demands, files),
        *_latency_checks(demands, latencies),
        *_share_checks(demands, files),
    )


def size_checks(demands: Demands, files: Iterable[ModelFile], *, planned: bool = False) -> Iterator[DemandCheck]:
    """What the files take; of planned ones the tensors alone, which can break a demand but not meet it."""
    if demands.max_size is None:
        return
    limit = parse_size(demands.max_size)
    for file in files:
        met = file.bytes <= limit
        yield DemandCheck(
            demand=SIZE,
            file=file.name,
            profile=None,
            limit=limit,
            found=file.bytes,
            met=met,
            note="tensors alone" if planned else "",
            advice="" if met else _smaller(file),
        )


def _smaller(file: ModelFile) -> str:
    if file.table_bytes > file.bytes / 2:
        rank = "" if file.target == Target.GGUF else "cut.rank, "
        share = f"{file.table_bytes / file.bytes:.0%}"
        return f"vocabulary.keep, {rank}or precision.table: the token table is {share} of it"
    if file.precision in FLOAT_PRECISIONS or "8" in file.precision:
        return "precision.names to int4 (with precision.calibrate: builtin), or cut.layers to fewer"
    return "cut.layers to fewer"


def _latency_checks(demands: Demands, latencies: Iterable[FileLatency]) -> Iterator[DemandCheck]:
    limit = demands.max_latency_ms
    if limit is None:
        return
    for one in latencies:
        met = one.ms is not None and one.ms <= limit
        note = one.refused or ("measured" if one.measured else "estimated")
        if one.low_ms is not None and one.high_ms is not None:
            note += f" {show_ms(one.low_ms)} to {show_ms(one.high_ms)} ms"
        yield DemandCheck(
            demand=LATENCY,
            file=one.file,
            profile=one.profile,
            limit=limit,
            found=one.ms,
            met=met,
            note=note,
            advice="" if met else _faster(one),
        )


def _faster(one: FileLatency) -> str:
    if one.refused is not None:
        return "profiles to those that run this target, or targets to what they run"
    if f" {Target.GGUF} " in one.file:
        return "vocabulary.keep (llama.cpp multiplies every token by all of it), or cut.layers to fewer"
    return "cut.layers to fewer"


def _share_checks(demands: Demands, files: Iterable[ModelFile]) -> Iterator[DemandCheck]:
    for file in files:
        kept = file.retained
        found = {RETENTION: None if kept is None else kept.value, COSINE: file.cosine}
        for demand, limit in ((RETENTION, demands.min_retention), (COSINE, demands.min_cosine)):
            if limit is None:
                continue
            value = found[demand]
            met = value is not None and value >= limit
            note = "" if value is not None else "not measured"
            if demand == RETENTION and kept is not None and kept.low is not None and kept.high is not None:
                note = f"95% interval {kept.low:.1%} to {kept.high:.1%}"
            yield DemandCheck(
                demand=demand,
                file=file.name,
                profile=None,
                limit=limit,
                found=value,
                met=met,
                note=note,
                advice="" if met else _truer(file, demand),
            )


def _truer(file: ModelFile, demand: str) -> str:
    if file.precision not in FLOAT_PRECISIONS and demand == COSINE:
        return "precision.calibrate to builtin, or precision.names to a wider one"
    return "cut.layers, cut.dim or cut.rank to more, or precision.names to a wider one"


def against(check: DemandCheck) -> str:
    """How a demand was met or missed: "36.10 MB, at most 40.00 MB", "45.20 MB is over 40.00 MB by 5.20 MB (13%)"."""
    shown = _shown(check.demand, check.limit)
    if check.met and check.found is not None:
        least = check.demand in (RETENTION, COSINE)
        return f"{_shown(check.demand, check.found)}, {'at least' if least else 'at most'} {shown}"
    if check.found is None:
        return f"nothing was found to hold against {shown}: {check.note}"
    side = "over" if check.found > check.limit else "under"
    gap = abs(check.found - check.limit)
    by = f"{gap * 100:.1f} points" if check.demand == RETENTION else _shown(check.demand, gap)
    share = "" if check.demand in (RETENTION, COSINE) else f" ({gap / check.limit:.0%})"
    return f"{_shown(check.demand, check.found)} is {side} {shown} by {by}{share}"


def _shown(demand: str, value: float) -> str:
    if demand == SIZE:
        return f"{value / 1e6:,.2f} MB"
    if demand == LATENCY:
        return f"{show_ms(value)} ms"
    return f"{value:.1%}" if demand == RETENTION else f"{value:.4f}"


def tightest(checks: Iterable[DemandCheck]) -> DemandCheck | None:
    """The missed demand that is farthest off, as a share of its limit; one without a number before all."""
    missed = [check for check in checks if not check.met]
    if not missed:
        return None
    return max(missed, key=lambda c: float("inf") if c.found is None else abs(c.found - c.limit) / c.limit)
