"""Plans and artifacts for people: sizes before and after, what each tensor gets, what the verification found."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from mlexport.artifact import IDS, Artifact, Manifest, TensorPlan, Variant, VerifyReport
from mlexport.report.console import heading, line, megabytes, millions, show_prompts, times
from mlexport.report.devices import show_devices
from mlexport.report.retention import show_kept
from mlexport.report.vocabulary import show_split_change, show_vocabulary
from mlexport.results import Sizes, SlicePlan, SliceResult, manifest_sizes
from mlexport.spec import SubModelSpec

# Of the farthest
_OUTLIERS_SHOWN = 3
_EXAMPLE_QUERY = "photo editor"


def show_slice(console: Console, results: Sequence[SliceResult]) -> None:
    """What was cut, sizes before and after, verification, times, and the next command."""
    for result in results:
        manifest = result.artifact.manifest
        names = ", ".join(variant.name for variant in manifest.variants)
        heading(console, f"{manifest.model} → {manifest.spec} · {manifest.target} {names}")
        _show_artifact_body(console, manifest)
        line(console, "time", times(result.steps))
    for result in results:
        total = sum(entry.bytes for entry in result.artifact.manifest.files)
        line(console, "written", f"{result.artifact.folder}  ({megabytes(total)} in all)")
    folder = shlex.quote(str(results[0].artifact.folder))
    line(console, "next", f'mlexport search {folder} "{_EXAMPLE_QUERY}"')


def show_plan(console: Console, plans: Sequence[SlicePlan], *, tensors: bool) -> None:
    """A dry run: sizes before and after, and what happens to each group of tensors, or to each tensor."""
    for plan in plans:
        heading(console, f"{plan.sub.checkpoint.name} → {plan.label} (dry run: nothing is written)")
        # A file that takes text has the tensors of the one that takes ids
        chosen = [variant for variant in plan.variants if variant.takes == IDS]
        _show_sizes(console, plan.before, {variant.name: variant.sizes for variant in chosen})
        show_vocabulary(console, plan.vocabulary)
        for variant in chosen:
            if len(chosen) > 1:
                heading(console, variant.name)
            if variant.mixture is not None:
                predicted = (
                    f"1 - mean cosine is predicted to be {variant.mixture.choice.loss:.5f}, and not yet verified"
                )
                line(console, "auto", predicted)
            _show_rows(console, variant.rows, tensors=tensors)
        _show_remarks(console, plan.sub.notes, plan.sub.untrained)
        line(console, "would write", f"{plan.out}  ({plan.bytes:,} bytes of tensors)")


def show_artifact(console: Console, artifact: Artifact, *, tensors: bool) -> None:
    """The manifest in short; the plan's rows with `tensors`."""
    manifest = artifact.manifest
    revision = "" if manifest.revision is None else f" @ {manifest.revision}"
    heading(console, f"{artifact.folder}: {manifest.model}{revision} → {manifest.spec} · {manifest.target}")
    _show_artifact_body(console, manifest)
    show_prompts(console, artifact.text.prompts)
    line(console, "files", ", ".join(f"{entry.path} ({megabytes(entry.bytes)})" for entry in manifest.files))
    line(console, "made by", manifest.tool)
    for variant in manifest.variants:
        if tensors and variant.takes == IDS:
            heading(console, variant.name)
            _show_rows(console, variant.plan, tensors=True)


def show_verification(console: Console, artifact: Artifact, reports: Mapping[str, VerifyReport]) -> None:
    """The outcome of `verify`."""
    count = len(artifact.manifest.files)
    line(console, "files", f"{count} match their sha256")
    if reports:
        _show_reports(console, reports)
    else:
        line(console, "vectors", "not compared")


def _show_artifact_body(console: Console, manifest: Manifest) -> None:
    by_ids = [variant for variant in manifest.variants if variant.takes == IDS]
    _show_sizes(console, manifest_sizes(manifest.before), {v.name: manifest_sizes(v.sizes) for v in by_ids})
    spec, own = SubModelSpec.parse(manifest.spec), manifest.variants[0].table_precision
    origin = "as in the checkpoint" if spec.rank is None else f"cut to rank {spec.rank}"
    names = ", ".join(variant.precision for variant in by_ids)
    line(console, "precision", f"{names}; table {origin}" + ("" if own is None else f", in {own}"))
    show_vocabulary(console, manifest.vocabulary)
    _show_reports(console, {variant.name: variant.verification for variant in manifest.variants})
    for variant in by_ids:
        whose = f"{variant.name}: " if len(by_ids) > 1 else ""
        show_devices(console, variant, whose)
        _show_calibration(console, variant)
        lost = variant.table_error
        if lost is not None:
            text = f"{whose}rows differ by {lost.mean:.2%} on average, {lost.max:.2%} at most"
            line(console, "table error", f"{text} (token {lost.worst_token})")
    show_kept(console, manifest)
    _show_remarks(console, manifest.notes, manifest.untrained)


def _show_calibration(console: Console, variant: Variant) -> None:
    """What it was rounded on, what lay far out, and how a mixture was chosen."""
    facts, auto = variant.calibration, variant.auto
    if facts is not None:
        found = f"{facts.texts} texts of {facts.name}, {facts.tokens:,} tokens (sha256 {facts.sha256[:12]}…)"
        line(console, "calibrated", found)
        for one in sorted(facts.outliers, key=lambda one: -one.largest)[:_OUTLIERS_SHOWN]:
            more = "" if one.count == len(one.columns) else f" and {one.count - len(one.columns)} more"
            where = f"{one.tensor}, columns {', '.join(map(str, one.columns))}{more}"
            line(console, "outliers", f"{one.kind} of {where}: up to {one.largest:g} medians")
        if len(facts.outliers) > _OUTLIERS_SHOWN:
            line(console, "", f"and in {len(facts.outliers) - _OUTLIERS_SHOWN} more places, which mlexport.json lists")
    if auto is not None:
        asked = [] if auto.min_cosine is None else [f"mean cosine {auto.min_cosine:g}"]
        asked += [] if auto.max_bytes is None else [f"{megabytes(auto.max_bytes)} of model files"]
        found = f"predicted loss {auto.predicted_loss:.5f}, verified {auto.verified_loss:.5f}"
        line(console, "auto", f"{' and '.join(asked)}: {found}, the best of {auto.tries} mixtures tried")
        _show_rows(console, variant.plan, tensors=False)


def _show_reports(console: Console, reports: Mapping[str, VerifyReport]) -> None:
    """One line of cosine a variant, and once what the reference and its texts were."""
    for name, report in reports.items():
        if report.mean_cosine is not None and report.min_cosine is not None:
            whose = f"{name}: " if len(reports) > 1 else ""
            found = (
                f"{whose}mean {report.mean_cosine:.5f} (needs {report.threshold['mean']:g}), "
                f"min {report.min_cosine:.5f} (needs {report.threshold['min']:g}), {report.texts} texts"
            )
            line(console, "cosine", f"{found}: {report.status}")
    first = next(iter(reports.values()))
    if first.mean_cosine is not None:
        differ = max(report.token_mismatches for report in reports.values())
        line(console, "token ids", f"differ in {differ} of {first.texts} texts")
        show_split_change(console, first.split_change, first.texts)
        if first.largest_residual is not None:
            line(console, "residual", f"at most {first.largest_residual:,.0f} between layers (f16 ends at 65,504)")
        line(console, "reference", first.reference)
    for sentence in first.not_checked:
        line(console, "not checked", sentence)


def _show_sizes(console: Console, before: Sizes, after: Mapping[str, Sizes]) -> None:
    """Layers, dim, parameters and bytes; a column of bytes for each of several files."""
    names = ["after"] if len(after) == 1 else list(after)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("before", "", names[0], *(["", *names[1:]] if len(names) > 1 else [""])):
        table.add_column(name, justify="right")
    first, *others = after.values()
    spare = [""] * len(others)
    for label, numbers in (("layers", (before.layers, first.layers)), ("dim", (before.dim, first.dim))):
        table.add_row(label, str(numbers[0]), "", str(numbers[1]), "", *spare)
    rows = (
        ("table", "table_parameters", "table_bytes"),
        ("body", "body_parameters", "body_bytes"),
        ("total", "parameters", "bytes"),
    )
    for label, parameters, size in rows:
        cells = [
            show(getattr(s, key)) for s in (before, first) for show, key in ((millions, parameters), (megabytes, size))
        ]
        cells += [megabytes(getattr(s, size)) for s in others]
        table.add_row(label, *cells, style="bold" if label == "total" else "")
    console.print(table)


def _show_rows(console: Console, rows: Sequence[TensorPlan], *, tensors: bool) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("tensor", "shape", "scheme"):
        table.add_column(name, overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("why", overflow="fold")
    for name, group in ((row.name, [row]) for row in rows) if tensors else _grouped(rows):
        first = group[0]
        shape = "×".join(map(str, first.shape))
        table.add_row(name, shape, _scheme(first), f"{sum(row.bytes for row in group):,}", first.reason)
    table.add_row("all", "", "", f"{sum(row.bytes for row in rows):,}", "", style="bold")
    console.print(table)


def _scheme(row: TensorPlan) -> str:
    """Scheme, numbers a scale, symmetric or not."""
    if row.block is None:
        return row.scheme
    return f"{row.scheme} ({row.block}, {'sym' if row.symmetric else 'asym'})"


def _grouped(rows: Sequence[TensorPlan]) -> Iterable[tuple[str, list[TensorPlan]]]:
    """Rows that differ only in their layer, under one name with their number."""

    def key(row: TensorPlan) -> tuple[str, tuple[int, ...], str, str]:
        name = ".".join("*" if part.isdigit() else part for part in row.name.split("."))
        return name, row.shape, row.scheme, row.reason

    order = {key(row): place for place, row in reversed(list(enumerate(rows)))}
    for (name, *_), found in groupby(sorted(rows, key=lambda row: order[key(row)]), key=key):
        group = list(found)
        yield (f"{name} ({len(group)})" if "*" in name else name), group


def _show_remarks(console: Console, notes: Sequence[str], untrained: Sequence[str]) -> None:
    for note in notes:
        line(console, "note", note)
    for sentence in untrained:
        line(console, "NOT TRAINED", sentence, style="yellow")
