"""Results as tables for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlexport.artifact import Artifact, TensorPlan, VerifyReport
from mlexport.report.data import stored_rank
from mlexport.results import (
    CheckpointFacts,
    SearchResult,
    Sizes,
    SlicePlan,
    SliceResult,
    Step,
    manifest_sizes,
)
from mlexport.spec import SubModelSpec

# Width of a table that no terminal limits
_FILE_WIDTH = 110
_EXAMPLE_QUERY = "photo editor"


def make_console() -> Console:
    """A console on standard output, as wide as its terminal; no markup in what it prints."""
    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=_FILE_WIDTH)


def megabytes(count: int) -> str:
    """Bytes in MB (10^6), or in KB below a tenth of one."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} KB"


def millions(count: int) -> str:
    """Parameters in millions, or in thousands below a tenth of one."""
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count / 1e3:,.1f} K"


def show_slice(console: Console, results: Sequence[SliceResult]) -> None:
    """What was cut, sizes before and after, verification, times, and the next command."""
    for result in results:
        manifest = result.artifact.manifest
        _heading(console, f"{manifest.model} → {manifest.spec} · {manifest.target} {manifest.precision}")
        _show_artifact_body(console, result.artifact)
        _line(console, "time", _times(result.steps))
    for result in results:
        total = sum(entry.bytes for entry in result.artifact.manifest.files)
        _line(console, "written", f"{result.artifact.folder}  ({megabytes(total)} in all)")
    folder = shlex.quote(str(results[0].artifact.folder))
    _line(console, "next", f'mlexport search {folder} "{_EXAMPLE_QUERY}"')


def show_plan(console: Console, plans: Sequence[SlicePlan], *, tensors: bool) -> None:
    """A dry run: sizes before and after, and what happens to each group of tensors, or to each tensor."""
    for plan in plans:
        _heading(console, f"{plan.sub.checkpoint.name} → {plan.label} (dry run: nothing is written)")
        _show_sizes(console, plan.before, plan.after)
        _show_rows(console, plan.rows, tensors=tensors)
        _show_remarks(console, plan.sub.notes, plan.sub.untrained)
        _line(console, "would write", f"{plan.out}  ({plan.after.bytes:,} bytes of tensors)")


def show_checkpoint(console: Console, facts: CheckpointFacts) -> None:
    """Cuts, tokenizer facts and sizes of a checkpoint."""
    checkpoint, text, config = facts.checkpoint, facts.checkpoint.text, facts.checkpoint.config
    revision = "" if checkpoint.revision is None else f" @ {checkpoint.revision}"
    _heading(console, f"{checkpoint.name}{revision}")
    _line(console, "folder", str(checkpoint.folder))
    _line(
        console,
        "model",
        f"{config.layers} layers, hidden {config.hidden}, MLP {config.mlp}, {config.heads} heads of {config.head_dim}, "
        f"{config.kv_heads} KV heads, vocabulary {config.vocabulary:,}, context {config.context:,}",
    )
    _line(
        console,
        "sizes",
        f"table {millions(facts.sizes.table_parameters)} ({megabytes(facts.sizes.table_bytes)}), "
        f"body {millions(facts.sizes.body_parameters)} ({megabytes(facts.sizes.body_bytes)})",
    )
    rank = stored_rank(checkpoint)
    ranks = "none: no U.pth and V.pth, so a rank cut is made by SVD"
    if rank is not None:
        ranks = f"{_numbers(checkpoint.trained_ranks)}  (U·V of rank {rank})"
    _line(console, "trained", f"--layers {_numbers(checkpoint.trained_layers)}")
    _line(console, "", f"--rank   {ranks}")
    _line(console, "", f"--dim    {_numbers(checkpoint.trained_dims)}")
    appended = "the tokenizer appends it" if text.end_appended else "the tokenizer does not append it: mlexport does"
    _line(console, "end token", f"{text.end_token} ({text.end_id}); {appended}")
    _line(console, "longest text", f"{text.max_length} tokens, the end token among them")
    _show_prompts(console, text.prompts)
    _show_cuts(console, facts)


def show_artifact(console: Console, artifact: Artifact, *, tensors: bool) -> None:
    """The manifest in short; the plan's rows with `tensors`."""
    manifest = artifact.manifest
    revision = "" if manifest.revision is None else f" @ {manifest.revision}"
    _heading(console, f"{artifact.folder}: {manifest.model}{revision} → {manifest.spec} · {manifest.target}")
    _show_artifact_body(console, artifact)
    _show_prompts(console, artifact.text.prompts)
    _line(console, "files", ", ".join(f"{entry.path} ({megabytes(entry.bytes)})" for entry in manifest.files))
    _line(console, "made by", manifest.tool)
    if tensors:
        _show_rows(console, manifest.plan, tensors=True)


def show_verification(console: Console, artifact: Artifact, report: VerifyReport | None) -> None:
    """The outcome of `verify`."""
    count = len(artifact.manifest.files)
    _line(console, "files", f"{count} match their sha256")
    if report is None:
        _line(console, "vectors", "not compared")
    else:
        _show_report(console, report)


def show_search(console: Console, result: SearchResult) -> None:
    """A table for each query."""
    prompt = "no query prompt in this checkpoint" if result.prompt is None else f"query prompt {result.prompt!r}"
    _line(console, "corpus", f"{result.corpus.name}, {result.documents:,} documents; {prompt}")
    for found in result.found:
        table = Table(
            title=Text(found.query, style="bold"), title_justify="left", box=None, pad_edge=False, expand=True
        )
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("id", overflow="ellipsis", no_wrap=True, max_width=24)
        table.add_column("text", overflow="ellipsis", no_wrap=True, ratio=1)
        for hit in found.hits:
            shown = " ".join(hit.document.content.split())
            table.add_row(str(hit.rank), f"{hit.score:.3f}", Text(hit.document.id), Text(shown))
        console.print()
        console.print(table)


def _show_artifact_body(console: Console, artifact: Artifact) -> None:
    manifest = artifact.manifest
    _show_sizes(console, *(manifest_sizes(manifest.sizes[side]) for side in ("before", "after")))
    spec, own = SubModelSpec.parse(manifest.spec), manifest.table_precision
    origin = "as in the checkpoint" if spec.rank is None else f"cut to rank {spec.rank}"
    _line(console, "precision", f"{manifest.precision}; table {origin}" + ("" if own is None else f", in {own}"))
    _show_report(console, manifest.verification)
    lost = manifest.table_error
    if lost is not None:
        text = f"rows differ by {lost.mean:.2%} on average, {lost.max:.2%} at most (token {lost.worst_token})"
        _line(console, "table error", text)
    _show_remarks(console, manifest.notes, manifest.untrained)


def _show_report(console: Console, report: VerifyReport) -> None:
    if report.mean_cosine is not None and report.min_cosine is not None:
        _line(
            console,
            "cosine",
            f"mean {report.mean_cosine:.5f} (needs {report.threshold['mean']:g}), "
            f"min {report.min_cosine:.5f} (needs {report.threshold['min']:g}), {report.texts} texts: {report.status}",
        )
        _line(console, "token ids", f"differ in {report.token_mismatches} of {report.texts} texts")
        if report.largest_residual is not None:
            _line(console, "residual", f"at most {report.largest_residual:,.0f} between layers (f16 ends at 65,504)")
        _line(console, "reference", report.reference)
    for sentence in report.not_checked:
        _line(console, "not checked", sentence)


def _show_sizes(console: Console, before: Sizes, after: Sizes) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for side in ("before", "after"):
        table.add_column(side, justify="right")
        table.add_column("", justify="right")
    for name, numbers in (("layers", (before.layers, after.layers)), ("dim", (before.dim, after.dim))):
        table.add_row(name, str(numbers[0]), "", str(numbers[1]), "")
    rows = (
        ("table", "table_parameters", "table_bytes"),
        ("body", "body_parameters", "body_bytes"),
        ("total", "parameters", "bytes"),
    )
    for name, parameters, size in rows:
        cells = [
            show(getattr(s, key)) for s in (before, after) for show, key in ((millions, parameters), (megabytes, size))
        ]
        table.add_row(name, *cells, style="bold" if name == "total" else "")
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
        table.add_row(name, shape, first.scheme, f"{sum(row.bytes for row in group):,}", first.reason)
    table.add_row("all", "", "", f"{sum(row.bytes for row in rows):,}", "", style="bold")
    console.print(table)


def _grouped(rows: Sequence[TensorPlan]) -> Iterable[tuple[str, list[TensorPlan]]]:
    """Rows that differ only in their layer, under one name with their number."""

    def key(row: TensorPlan) -> tuple[str, tuple[int, ...], str, str]:
        name = ".".join("*" if part.isdigit() else part for part in row.name.split("."))
        return name, row.shape, row.scheme, row.reason

    order = {key(row): place for place, row in reversed(list(enumerate(rows)))}
    for (name, *_), found in groupby(sorted(rows, key=lambda row: order[key(row)]), key=key):
        group = list(found)
        yield (f"{name} ({len(group)})" if "*" in name else name), group


def _show_cuts(console: Console, facts: CheckpointFacts) -> None:
    if not facts.cuts:
        return
    table = Table(title="trained depths, at full width", title_justify="left", box=None, pad_edge=False)
    table.add_column("cut")
    for name in ("table", "body", "parameters", f"{facts.cuts[0].target} {facts.cuts[0].precision}"):
        table.add_column(name, justify="right")
    for cut in facts.cuts:
        sizes = cut.sizes
        parameters = map(millions, (sizes.table_parameters, sizes.body_parameters, sizes.parameters))
        table.add_row(cut.spec, *parameters, megabytes(sizes.bytes))
    console.print()
    console.print(table)


def _show_prompts(console: Console, prompts: Mapping[str, str]) -> None:
    _line(console, "prompts", ", ".join(f"{name} {text!r}" for name, text in prompts.items()) or "none")


def _show_remarks(console: Console, notes: Sequence[str], untrained: Sequence[str]) -> None:
    for note in notes:
        _line(console, "note", note)
    for sentence in untrained:
        _line(console, "NOT TRAINED", sentence, style="yellow")


def _times(steps: Sequence[Step]) -> str:
    return " · ".join(f"{step.name} {step.seconds:.2f} s" for step in steps)


def _numbers(values: Sequence[int]) -> str:
    return " ".join(map(str, values))


def _heading(console: Console, text: str) -> None:
    console.print(Text(text, style="bold"), soft_wrap=True)


def _line(console: Console, name: str, text: str, style: str = "") -> None:
    # Soft wrap: a path or a command must stay in one piece for copying
    console.print(Text(f"{name:<12}  ", style="dim") + Text(text, style=style), soft_wrap=True)
