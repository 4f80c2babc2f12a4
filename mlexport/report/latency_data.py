"""A latency report for scripts: JSON with field names as Qualcomm AI Hub's where they fit, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict

from mlexport.percentiles import Times
from mlexport.report.latency import Refused, Report, Row
from mlexport.report.units import provider_unit, unit_counts

FORMAT = "mlexport-report"
FORMAT_VERSION = 1
_MB = 1e6
# A spreadsheet would take a text that begins so for a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def report_data(report: Report) -> dict[str, object]:
    """Everything the report holds, raw samples included; each figure with the word measured or estimated."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "title": report.title,
        "tool": report.tool,
        "created": report.created,
        "sources": [asdict(one) for one in report.sources],
        "reference_tokens": dict(report.lengths),
        "min_retention": report.min_retention,
        "summary": list(report.summary),
        "warnings": list(report.warnings),
        "recommended": [
            {
                "device": one.device,
                "artifact": one.row.subject,
                "kind": one.row.kind,
                "tokens": one.row.tokens,
                "inference_time_milliseconds": one.row.ms,
                "why": one.text,
                "alternatives": list(one.others),
            }
            for one in report.choices
        ],
        "devices": [asdict(one) for one in report.devices],
        "artifacts": [{"number": s.number, **asdict(s.subject), "name": s.name} for s in report.subjects],
        "performance": [_performance(report, row) for row in report.rows],
        "comparisons": [{"device": one.device, "kind": "measured", **asdict(one.ratio)} for one in report.compared],
        "refused": [asdict(one) for one in report.refused],
        "method": list(report.method),
        "sweep": [asdict(point) for point in report.points],
    }


def _performance(report: Report, row: Row) -> dict[str, object]:
    """One latency, in the names of AI Hub's performance metrics, and ours beside them."""
    subject = report.shown(row.subject).subject
    memory = None
    if row.memory_low is not None and row.memory_high is not None:
        memory = {"min": row.memory_low / _MB, "max": row.memory_high / _MB}
    return {
        "device": row.device,
        "artifact": row.subject,
        "file_sha256": subject.sha256,
        "kind": row.kind,
        "inference_time_milliseconds": row.ms,
        "inference_time_range_milliseconds": None if row.measured else {"min": row.low_ms, "max": row.high_ms},
        "percentiles_milliseconds": _times(row.times),
        "tokenise_milliseconds": _times(row.tokenise),
        "end_to_end_milliseconds": _times(row.end_to_end),
        "throughput_tokens_per_second": row.tokens_per_s,
        # AI Hub's name; memory_kind says which word is true of it here
        "estimated_peak_memory_range_mb": memory,
        "memory_kind": None if memory is None else row.kind,
        "primary_compute_unit": unit(report, row),
        "layer_counts": unit_counts(row.nodes),
        "nodes_by_provider": dict(row.nodes),
        "precision": subject.precision,
        "tokens": row.tokens,
        "batch": row.batch,
        "streams": row.streams,
        "threads": row.threads,
        "load_time_milliseconds": row.load_ms,
        "first_call_milliseconds": row.first_call_ms,
        "warm_up_calls": row.warm_calls,
        "cores_busy": row.cores_busy,
        "tool_versions": {row.runtime: row.version or None, "mlexport": report.tool},
        "provider": row.provider,
        "on_pareto_front": _on_front(report, row),
        "remarks": list(row.remarks),
        "coverage": row.coverage,
        "parts": [asdict(part) for part in row.parts],
        "figures": [asdict(figure) for figure in row.figures],
        "samples_ns": list(row.samples_ns),
    }


def unit(report: Report, row: Row) -> str | None:
    """The processor that did most: by the runtime's own word, or else by the profile's name."""
    own = None if row.provider is None else provider_unit(row.provider)
    return own or next(device.unit for device in report.devices if device.name == row.device)


def _on_front(report: Report, row: Row) -> bool | None:
    """None for a setting that the front is not drawn for."""
    if not (row.single and row.tokens == report.lengths.get(row.device)):
        return None
    return (row.device, row.subject, row.kind) in report.front


def _times(times: Times | None) -> Mapping[str, float] | None:
    if times is None:
        return None
    names = {"p50": times.p50_ms, "p90": times.p90_ms, "p99": times.p99_ms, "mean": times.mean_ms}
    return {**names, "min": times.min_ms, "max": times.max_ms, "samples": times.count}


CSV_COLUMNS = (
    *("device", "unit", "artifact", "kind", "tokens", "batch", "streams", "ms", "low_ms", "high_ms"),
    *("p50_ms", "p90_ms", "p99_ms", "samples", "end_to_end_p50_ms", "tokenise_p50_ms", "tokens_per_s"),
    *("bytes", "retained", "cosine", "memory_low_bytes", "memory_high_bytes", "load_ms", "first_call_ms"),
    *("warm_calls", "runtime", "version", "provider", "threads", "model", "spec", "target", "variant", "precision"),
    *("sha256", "on_front", "refused", "remarks"),
)


def report_csv(report: Report) -> str:
    """A line a latency, measured or estimated, refused ones and a sweep's points included; empty where unknown."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    lines = [_line(report, row) for row in report.rows]
    lines += [_refused_line(report, one) for one in report.refused]
    for point in report.points:
        known = {name: value for name, value in asdict(point).items() if name in CSV_COLUMNS}
        spec = f"L{point.layers}" + ("" if point.vocab is None else f"-V{point.vocab}")
        spec += ("" if point.rank is None else f"-R{point.rank}") + f"-D{point.dim}"
        lines.append({**known, "artifact": point.name, "kind": point.ms_kind, "spec": spec})
    for line in lines:
        writer.writerow({name: _safe(value) for name, value in line.items()})
    return buffer.getvalue()


def _safe(value: object) -> object:
    """Text that a spreadsheet would calculate, behind an apostrophe."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _identity(report: Report, name: str) -> dict[str, object]:
    subject = report.shown(name).subject
    fields = ("bytes", "retained", "cosine", "model", "spec", "target", "variant", "precision", "sha256")
    return {"artifact": name, **{field: getattr(subject, field) for field in fields}}


def _line(report: Report, row: Row) -> dict[str, object]:
    found: dict[str, object] = {
        **_identity(report, row.subject),
        "unit": unit(report, row),
        "memory_low_bytes": row.memory_low,
        "memory_high_bytes": row.memory_high,
        "on_front": _on_front(report, row),
        "remarks": "; ".join(row.remarks),
    }
    plain = ("device", "kind", "tokens", "batch", "streams", "ms", "tokens_per_s", "load_ms", "first_call_ms")
    found |= {name: getattr(row, name) for name in (*plain, "warm_calls", "runtime", "version", "provider", "threads")}
    if row.times is None:
        return found | {"low_ms": row.low_ms, "high_ms": row.high_ms}
    times = row.times
    found |= {"p50_ms": times.p50_ms, "p90_ms": times.p90_ms, "p99_ms": times.p99_ms, "samples": times.count}
    for name, one in (("end_to_end_p50_ms", row.end_to_end), ("tokenise_p50_ms", row.tokenise)):
        found[name] = None if one is None else one.p50_ms
    return found


def _refused_line(report: Report, one: Refused) -> dict[str, object]:
    setting = {"device": one.device, "kind": "estimated", "tokens": one.tokens, "batch": one.batch, "streams": 1}
    return {**_identity(report, one.subject), **setting, "runtime": one.runtime, "refused": one.reason}
