"""The condition of every file that takes strings: its token ids are tokenizer.json's, on every probe text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlexport.errors import ExportError
from mlexport.model import TextFacts
from mlexport.probes import PROBES, over_long

# The cut is the same nodes at any length; ids of a text over 100000 tokens would take minutes to compare
_LONGEST_COMPARED = 2048
# Ids shown on each side of a difference
_SHOWN = 6


def compared_limit(facts: TextFacts) -> int:
    """Tokens at which the tokenizer under test has to cut, the end token among them."""
    return min(facts.max_length, _LONGEST_COMPARED)


def require_equal_ids(
    tokenizer: Mapping[str, Any], facts: TextFacts, run: Callable[[Sequence[str]], Sequence[Sequence[int]]]
) -> None:
    """Compare ids with those of the `tokenizers` library, the end token last.

    Args:
        tokenizer: tokenizer.json.
        run: texts -> the ids of each, cut to `compared_limit`.

    Raises:
        ExportError: they differ; it names the first text.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415

    limit = compared_limit(facts)
    probes = [*PROBES, over_long(limit)]
    original = Tokenizer.from_str(json.dumps(tokenizer))
    original.no_truncation()
    original.no_padding()
    for probe, ids in zip(probes, run([probe.text for probe in probes]), strict=True):
        expected = [*original.encode(probe.text, add_special_tokens=False).ids[: limit - 1], facts.end_id]
        if list(ids) != expected:
            theirs, ours = _shown(expected, ids)
            text = probe.text if len(probe.text) <= 40 else f"{probe.text[:40]}…"
            raise ExportError(
                f"--text-in is refused: of the probe text '{probe.name}' ({text!r}) the tokenizer inside the graph "
                f"makes {ours}, tokenizer.json {theirs}. Leave --text-in out"
            )


def _shown(expected: Sequence[int], found: Sequence[int]) -> tuple[str, str]:
    """Both lists from shortly before where they part."""
    pairs = zip(expected, found, strict=False)
    place = next((i for i, (a, c) in enumerate(pairs) if a != c), min(len(expected), len(found)))
    start = max(0, place - 1)

    def part(ids: Sequence[int]) -> str:
        shown = ", ".join(map(str, ids[start : start + _SHOWN]))
        return f"[{'…, ' if start else ''}{shown}{', …' if start + _SHOWN < len(ids) else ''}]"

    return part(expected), part(found)
