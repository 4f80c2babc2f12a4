"""Checkpoints and search results for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlexport.report.console import heading, line, megabytes, millions, show_prompts
from mlexport.report.data import stored_rank
from mlexport.results import CheckpointFacts, SearchResult


def show_checkpoint(console: Console, facts: CheckpointFacts) -> None:
    """Cuts, tokenizer facts and sizes of a checkpoint."""
    checkpoint, text, config = facts.checkpoint, facts.checkpoint.text, facts.checkpoint.config
    revision = "" if checkpoint.revision is None else f" @ {checkpoint.revision}"
    heading(console, f"{checkpoint.name}{revision}")
    line(console, "folder", str(checkpoint.folder))
    line(
        console,
        "model",
        f"{config.layers} layers, hidden {config.hidden}, MLP {config.mlp}, {config.heads} heads of {config.head_dim}, "
        f"{config.kv_heads} KV heads, vocabulary {config.vocabulary:,}, context {config.context:,}",
    )
    line(
        console,
        "sizes",
        f"table {millions(facts.sizes.table_parameters)} ({megabytes(facts.sizes.table_bytes)}), "
        f"body {millions(facts.sizes.body_parameters)} ({megabytes(facts.sizes.body_bytes)})",
    )
    rank = stored_rank(checkpoint)
    ranks = "none: no U.pth and V.pth, so a rank cut is made by SVD"
    if rank is not None:
        ranks = f"{_numbers(checkpoint.trained_ranks)}  (U·V of rank {rank})"
    line(console, "trained", f"--layers {_numbers(checkpoint.trained_layers)}")
    line(console, "", f"--rank   {ranks}")
    line(console, "", f"--dim    {_numbers(checkpoint.trained_dims)}")
    appended = "the tokenizer appends it" if text.end_appended else "the tokenizer does not append it: mlexport does"
    line(console, "end token", f"{text.end_token} ({text.end_id}); {appended}")
    line(console, "longest text", f"{text.max_length} tokens, the end token among them")
    show_prompts(console, text.prompts)
    _show_cuts(console, facts)


def show_search(console: Console, result: SearchResult) -> None:
    """A table for each query."""
    prompt = "no query prompt in this checkpoint" if result.prompt is None else f"query prompt {result.prompt!r}"
    line(console, "corpus", f"{result.corpus.name}, {result.documents:,} documents; {prompt}")
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


def _numbers(values: Sequence[int]) -> str:
    return " ".join(map(str, values))
