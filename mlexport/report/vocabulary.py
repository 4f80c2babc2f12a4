"""What a vocabulary slice did, for people: tokens and bytes, the length of texts, and the vectors of other splits."""

from __future__ import annotations

from rich.console import Console

from mlexport.kept import SplitChange, SplitLengths, VocabularyReport
from mlexport.report.console import line, megabytes


def show_vocabulary(console: Console, report: VocabularyReport | None) -> None:
    """Tokens kept, bytes saved, tokens per character before and after."""
    if report is None:
        return
    saved = ", ".join(
        f"{megabytes(count)} less{f' in {name}' if len(report.bytes_saved) > 1 else ''}"
        for name, count in report.bytes_saved.items()
    )
    kept = f"{report.tokens_before:,} → {report.tokens:,} tokens ({report.asked})"
    parents = f"; {report.merge_parents:,} of them only to make others" if report.merge_parents else ""
    line(console, "vocabulary", f"{kept}, table {saved}{parents}")
    corpus = "" if report.corpus is None else f"; corpus {_lengths(report.corpus)}"
    line(console, "tokens/char", f"probe texts {_lengths(report.probes)}{corpus}")


def show_split_change(console: Console, change: SplitChange | None, texts: int) -> None:
    """How far the vectors of texts moved that are split otherwise now."""
    if change is None:
        return
    found = f"changed in {change.texts} of {texts} texts"
    if change.mean_cosine is not None and change.min_cosine is not None:
        found += (
            f"; cosine to the vectors of the original split: mean {change.mean_cosine:.3f}, "
            f"min {change.min_cosine:.3f} ({change.worst_text.partition(': ')[0]})"
        )
    line(console, "split", found)


def _lengths(lengths: SplitLengths) -> str:
    return f"{lengths.before:.3f} → {lengths.after:.3f} ({lengths.texts:,} texts)"
