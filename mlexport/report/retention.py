"""What artifacts keep of the full model, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlexport.artifact import IDS, Manifest
from mlexport.evaluate.retention import Retention
from mlexport.measured import ArtifactRetention, Benchmark, Evaluation
from mlexport.report.console import heading, line, megabytes, times
from mlexport.retained import Estimate, StoredRetention
from mlexport.spec import Target, VectorPrecision

_CACHE = {
    "read": "vectors read from the cache",
    "written": "vectors kept in the cache",
    "off": "cache off",
    "not writable": "vectors not kept: the cache folder cannot be written",
}
_UNDEFINED = "–"
# Artifacts that fit beside each other, each number with its interval
MOST_COLUMNS = 3


def show_evaluation(console: Console, found: Evaluation) -> None:
    """The full model, a row an artifact, the languages, and the ways to store vectors."""
    first = found.artifacts[0].retention
    counted = f"{found.documents:,} documents, {found.queries:,} queries"
    languages = f" in {len(first.languages)} languages" if first.languages else ""
    heading(console, f"{found.data} ({found.split}): {counted}{languages}")
    for note in found.notes:
        line(console, "note", note)
    full = found.full
    prompt = "no query prompt" if full.query_prompt is None else f"query prompt {full.query_prompt!r}"
    revision = "" if full.revision is None else f" @ {full.revision}"
    line(console, "full model", f"{full.model}{revision}, dim {full.dim}, {prompt}")
    line(console, "", f"nDCG@10 {number(first.full_ndcg)}, recall@10 {number(first.full_recall)}")
    line(console, "", f"{full.how}; {_CACHE[full.cache]}")
    console.print()
    console.print(_artifacts(found.artifacts))
    console.print()
    if len(first.languages) > 1:
        console.print(_languages(found.artifacts))
        console.print()
    for artifact in found.artifacts:
        if artifact.retention.stored:
            console.print(_stored(artifact))
            console.print()
    line(
        console,
        "in brackets",
        f"95% intervals: paired bootstrap over queries (neighbours: documents), seed {found.seed}",
    )
    line(console, "kept", "the artifact's number as a share of the full model's; equal scores count against it")
    line(
        console, "neighbours", f"{first.anchors:,} documents: ten nearest shared; Spearman's rho of their similarities"
    )
    for artifact in found.artifacts:
        broken = artifact.retention.not_finite
        if broken:
            name = f"{artifact.folder} {artifact.variant}"
            line(console, "NOT FINITE", f"{name}: {broken:,} vectors, each counts against it", style="yellow")
    line(console, "time", times(found.steps))


def show_kept(console: Console, manifest: Manifest) -> None:
    """What a manifest says about stored vectors and retention; nothing where that is the usual."""
    stored = manifest.vectors
    if stored.precision != VectorPrecision.F32:
        ends = "" if stored.range is None else f", range ±{stored.range:.4f} ({stored.calibrated})"
        graph = manifest.target in (Target.ONNX, Target.OPENVINO)
        line(console, "vectors", f"{stored.precision}{ends}" + (f"; graph output {stored.output}" if graph else ""))
    by_ids = [variant for variant in manifest.variants if variant.takes == IDS and variant.retention is not None]
    for variant in by_ids:
        kept = variant.retention
        assert kept is not None
        whose = f"{variant.name}: " if len(by_ids) > 1 else ""
        line(console, "kept", f"{whose}nDCG@10 {share(kept.retained_ndcg)}, recall@10 {share(kept.retained_recall)}")
        line(console, "", f"neighbours@10 {share(kept.overlap)}, rank correlation {number(kept.correlation)}")
        for one in kept.stored:
            text = (
                f"stored as {one.precision}, {one.comparison}: nDCG@10 {share(one.retained)}, {one.bytes:,} B a vector"
            )
            line(console, "", text)
    for kept in (variant.retention for variant in by_ids[:1]):
        assert kept is not None
        of = f"{kept.data}, {kept.documents:,} documents, {kept.queries:,} queries; 95% intervals in brackets"
        line(console, "", f"of {kept.reference}, nDCG@10 {number(kept.full_ndcg)}")
        line(console, "", of)


def show_benchmark(console: Console, found: Benchmark) -> None:
    """A row a task, a column a model; the share of the full model's score where that was run."""
    labels = list(dict.fromkeys(score.label for score in found.scores))
    scores = {(score.task, score.label): score for score in found.scores}
    table = _table(
        f"mteb {found.scores[0].mteb_version}: main score" + (", share of the full model's" if found.against else "")
    )
    table.add_column("task")
    table.add_column("measure")
    for label in labels:
        table.add_column(label, justify="right", overflow="fold")
    for task in dict.fromkeys(score.task for score in found.scores):
        row = [scores[task, label] for label in labels]
        cells = [f"{score.score:.4f}" for score in row]
        if found.against is not None and row[0].score > 0:
            cells[1:] = [f"{score.score:.4f}  {score.score / row[0].score:.1%}" for score in row[1:]]
        table.add_row(Text(task), row[0].measure, *cells)
    console.print(table)
    line(console, "time", times(found.steps))


def number(estimate: Estimate, *, digits: int = 3) -> str:
    """A number and its interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return _UNDEFINED
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}–{estimate.high:.{digits}f}]"


def share(estimate: Estimate) -> str:
    """A share in percent and its interval."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return _UNDEFINED
    return f"{100 * estimate.value:.1f}% [{100 * estimate.low:.1f}–{100 * estimate.high:.1f}]"


def percent(estimate: Estimate) -> str:
    """A share in percent, without its interval."""
    return _UNDEFINED if estimate.value is None else f"{100 * estimate.value:.1f}%"


def _table(title: str) -> Table:
    return Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False)


def _name(artifact: ArtifactRetention) -> str:
    return f"{artifact.spec} {artifact.target} {artifact.variant}"


def _artifacts(rows: Sequence[ArtifactRetention]) -> Table:
    """A column an artifact; from the fourth on a row each, without the intervals' room for everything."""
    table = _table("kept of the full model")
    measures = [_measures(row) for row in rows]
    if len(rows) > MOST_COLUMNS:
        table.add_column("#", justify="right")
        table.add_column("artifact", overflow="fold")
        for name in ("files", "nDCG@10 kept", "recall@10 kept", "neighbours@10"):
            table.add_column(name, justify="right", no_wrap=True)
        for place, row in enumerate(rows, start=1):
            kept = (row.retention.retained_ndcg, row.retention.retained_recall, row.retention.overlap)
            what = Text(f"{_name(row)}\n{row.folder}")
            table.add_row(str(place), what, megabytes(row.bytes), *map(share, kept))
        return table
    table.add_column("artifact")
    for row in rows:
        table.add_column(_name(row), justify="right")
    table.add_row("folder", *(Text(str(row.folder), overflow="fold") for row in rows))
    table.add_row("files", *(megabytes(row.bytes) for row in rows))
    for place, (name, _) in enumerate(measures[0]):
        table.add_row(name, *(found[place][1] for found in measures))
    table.add_row("embedding", *(f"{row.seconds:.1f} s" for row in rows))
    return table


def _measures(row: ArtifactRetention) -> list[tuple[str, str]]:
    kept: Retention = row.retention
    return [
        ("nDCG@10", number(kept.ndcg)),
        ("  kept", share(kept.retained_ndcg)),
        *([("  mean of languages", share(kept.mean_of_languages))] if len(kept.languages) > 1 else []),
        ("recall@10", number(kept.recall)),
        ("  kept", share(kept.retained_recall)),
        ("neighbours@10 shared", share(kept.overlap)),
        ("rank correlation", number(kept.correlation)),
    ]


def _languages(rows: Sequence[ArtifactRetention]) -> Table:
    table = _table("nDCG@10 kept, by the query's language")
    table.add_column("language")
    table.add_column("queries", justify="right")
    table.add_column("full model", justify="right")
    for column, row in enumerate(rows, start=1):
        table.add_column(_name(row) if len(rows) <= MOST_COLUMNS else str(column), justify="right")
    for place, language in enumerate(rows[0].retention.languages):
        kept = [row.retention.languages[place].retained for row in rows]
        shares = map(share if len(rows) <= MOST_COLUMNS else percent, kept)
        table.add_row(Text(language.language), f"{language.queries:,}", number(language.full), *shares)
    return table


def _stored(artifact: ArtifactRetention) -> Table:
    """A row a dim, a column a precision: bytes of a stored vector, and the nDCG@10 kept with it."""
    table = _table(f"stored vectors of {artifact.folder} {artifact.variant}: bytes each, nDCG@10 kept")
    table.add_column("dim", justify="right")
    cells: dict[int, list[StoredRetention]] = {}
    for found in artifact.retention.stored:
        cells.setdefault(found.dim, []).append(found)
    for found in next(iter(cells.values())):
        table.add_column(f"{found.precision}, {found.comparison}", justify="right")
    for dim, row in cells.items():
        table.add_row(str(dim), *(f"{found.bytes:,} B  {share(found.retained)}" for found in row))
    return table
