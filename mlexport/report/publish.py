"""Files of results in, one file of a report out, in the form that its suffix says."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TypeVar

from mlexport.errors import ExportError, UsageError, missing_extra
from mlexport.latency import BenchResult, read_latency
from mlexport.report.latency import Report, Source
from mlexport.report.latency_build import Named

T = TypeVar("T")

_EXTRA = ("jinja2", "markupsafe", "matplotlib")

# Control characters, halves of surrogate pairs, and marks that turn the direction of what follows: they would end a
# page's text early, not be written at all, or show another name than the file has
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def read_named(path: Path) -> Named:
    """A file of `mlexport bench` or `mlexport estimate`; characters that cannot be shown become U+FFFD.

    Raises:
        UsageError: no such file, or another form.
    """
    result = printable(read_latency(path))
    return Named(
        result=result,
        source=source_of(
            path,
            kind=result.kind,
            tool=result.tool,
            created=result.created,
            trusted=result.trusted if isinstance(result, BenchResult) else None,
        ),
    )


def profiles_of(read: Sequence[Named]) -> list[str]:
    """Names of the profiles that were measured on or estimated for."""
    names: list[str] = []
    for named in read:
        result = named.result
        names += [result.profile] if isinstance(result, BenchResult) else [one.profile for one in result.estimates]
    return names


def source_of(path: Path, *, kind: str, tool: str, created: str, trusted: bool | None = None) -> Source:
    """What a report says of a file that it was made from."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Source(file=printable(path.name), sha256=digest, kind=kind, tool=tool, created=created, trusted=trusted)


def printable(value: T) -> T:
    """The same with U+FFFD for what cannot be shown, in texts however deep inside dataclasses, tuples and mappings."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\ufffd", value)  # type: ignore[return-value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: printable(getattr(value, one.name)) for one in fields(value)})
    if isinstance(value, Mapping):
        return {printable(key): printable(one) for key, one in value.items()}  # type: ignore[return-value]
    # Samples are many, and numbers
    if isinstance(value, tuple | list) and value and not isinstance(value[0], int | float):
        return type(value)(printable(one) for one in value)
    return value


def _html(report: Report) -> str:
    try:
        from mlexport.report.page import report_page  # noqa: PLC0415
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name not in _EXTRA:
            raise
        raise missing_extra(name, "report", "a report as HTML") from None
    return report_page(report)


def _markdown(report: Report) -> str:
    from mlexport.report.markdown import report_markdown  # noqa: PLC0415

    return report_markdown(report)


def _csv(report: Report) -> str:
    from mlexport.report.latency_data import report_csv  # noqa: PLC0415

    return report_csv(report)


def _json(report: Report) -> str:
    from mlexport.report.latency_data import report_data  # noqa: PLC0415

    return json.dumps(report_data(report), ensure_ascii=False, indent=1) + "\n"


FORMS: Mapping[str, Callable[[Report], str]] = {".html": _html, ".md": _markdown, ".csv": _csv, ".json": _json}


def form_of(out: Path) -> Callable[[Report], str]:
    """What writes a file with such a suffix.

    Raises:
        UsageError: none does.
    """
    form = FORMS.get(out.suffix.lower())
    if form is None:
        raise UsageError(f"a report cannot be written as '{out.name}': give a name that ends in {', '.join(FORMS)}")
    return form


def write_report(reports: Sequence[tuple[Path, str]]) -> None:
    """Write texts of reports, each whole or not at all; an older file of the name is replaced.

    Raises:
        ExportError: a folder is missing or cannot be written.
    """
    for out, text in reports:
        beside = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(out)
        except OSError as error:
            raise ExportError(f"{out} cannot be written: {error.strerror}") from None
        finally:
            beside.unlink(missing_ok=True)
