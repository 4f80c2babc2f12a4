"""What sweeps have measured already of a model, as options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import sqrt
from pathlib import Path
from typing import Any

from mlexport.choose.candidates import Candidates, estimate_cut, option_of
from mlexport.chosen import Option
from mlexport.errors import DocumentError, MlexportError, UsageError
from mlexport.latency import MEASURED
from mlexport.recipe import Recipe
from mlexport.sweep.tasks import Cut
from mlexport.swept import DATABASE, DONE, LanguageShare, Point, Sweep, is_sweep, read_sweep

# Depth at which sweeps are looked for below the folder of results
_PATTERNS = (DATABASE, f"*/{DATABASE}", f"*/*/{DATABASE}")
# Parts of a sweep's settings that do not make another artifact, or are compared by themselves
_NOT_THE_ARTIFACT = ("model", "evaluation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Measured options with the recipe that made each, and what was left out, a sentence each."""

    options: Mapping[Option, Recipe]
    notes: tuple[str, ...]


def sweeps_under(folder: Path) -> list[Path]:
    """Sweeps' files, the newest first."""
    found = [path for pattern in _PATTERNS for path in folder.glob(pattern)]
    return sorted(found, key=lambda path: -path.stat().st_mtime)


def read_known(paths: Sequence[Path], candidates: Candidates, languages: Sequence[str], *, named: bool) -> Known:
    """Points of these sweeps that are of the candidates' model and evaluation set.

    Args:
        languages: of the set's, those whose queries count; empty for all.
        named: whether the user named the files: then one that does not fit is an error.

    Raises:
        UsageError: a named file is not a sweep's, or is of another model or evaluation set.
    """
    options: dict[Option, Recipe] = {}
    seen: set[tuple[object, ...]] = set()
    left = 0
    for path in paths:
        try:
            if not is_sweep(path):
                raise UsageError(f"{path} does not exist: expected the folder or the file of `mlexport sweep`")
            sweep = read_sweep(path)
            why = _foreign(sweep, candidates)
            if why is not None:
                raise UsageError(f"{path} is {why}: its points do not compare")
        except UsageError:
            if named:
                raise
            left += 1
            continue
        recipe = Recipe.model_validate_json(sweep.facts["recipe"])
        settings = json.dumps(_settings(sweep.facts["identity"]), sort_keys=True)
        for option in _of_sweep(sweep, recipe, candidates, languages):
            key = (settings, *option.body, option.dim)
            if key not in seen:
                seen.add(key)
                options[option] = recipe
    notes = (f"{left} other sweeps that lie there do not compare: of another model, set or shape",) if left else ()
    return Known(options=options, notes=notes)


def _settings(identity: str) -> dict[str, Any]:
    settings = json.loads(identity)["settings"]
    return {key: value for key, value in settings.items() if key not in _NOT_THE_ARTIFACT}


def _foreign(sweep: Sweep, candidates: Candidates) -> str | None:
    theirs, ours = json.loads(sweep.facts["identity"]), json.loads(candidates.sweep.identity)
    if theirs["checkpoint"] != ours["checkpoint"]:
        return f"a sweep of another model ({sweep.facts['model']})"
    if theirs["settings"]["evaluation"].get("data") != ours["settings"]["evaluation"].get("data"):
        return "evaluated on another set"
    if theirs["settings"].get("static") != ours["settings"].get("static"):
        return "of graphs of other shapes"
    return None


def _of_sweep(sweep: Sweep, recipe: Recipe, candidates: Candidates, languages: Sequence[str]) -> Iterator[Option]:
    """One option a cut, with the latency of the candidates' profile."""
    profile = candidates.profile.name
    shares: dict[int, list[LanguageShare]] = {}
    for one in sweep.languages:
        shares.setdefault(one.cut, []).append(one)
    by_cut: dict[int, Point] = {}
    for point in sweep.points:
        # Of a cut on several profiles, the row of this one
        known = point.status == DONE and point.retained is not None
        if known and (point.cut not in by_cut or point.profile == profile):
            by_cut[point.cut] = point
    timed: dict[tuple[object, ...], Option] = {(*one.body, one.dim): one for one in candidates.options}
    for number, point in by_cut.items():
        kept = _kept(point, [one for one in shares.get(number, ()) if one.language in languages], languages)
        if kept is None:
            continue
        option = _option(point, recipe, candidates, timed)
        if option is not None:
            yield replace(option, retained=kept[0], retained_low=kept[1], retained_high=kept[2], source=str(sweep.path))


def _option(
    point: Point, recipe: Recipe, candidates: Candidates, timed: Mapping[tuple[object, ...], Option]
) -> Option | None:
    """A point with its own latency, or the estimate; None where the profile's targets are others."""
    cut = Cut(**{field.name: getattr(point, field.name) for field in fields(Cut)})
    if cut.target not in candidates.sweep.recipe.targets:
        return None
    base = timed.get((cut.layers, cut.rank, cut.vocab, cut.precision, cut.target, cut.dim))
    if base is None:
        try:
            estimate = estimate_cut(recipe, candidates.sweep.checkpoint, cut, candidates.profile)
        except (MlexportError, DocumentError):
            return None
        base = option_of(cut, point.spec or "", point.bytes or 0, estimate)
    measured = point.profile == candidates.profile.name and point.latency_kind == MEASURED
    if measured:
        base = replace(base, ms=point.latency_ms, low_ms=None, high_ms=None, ms_measured=True, refused=None)
    return replace(base, bytes=point.bytes or base.bytes, bytes_measured=True)


def _kept(
    point: Point, shares: Sequence[LanguageShare], languages: Sequence[str]
) -> tuple[float, float | None, float | None] | None:
    """What is kept of the full model's nDCG@10, and its 95% interval."""
    if not languages:
        return None if point.retained is None else (point.retained, point.retained_low, point.retained_high)
    if {one.language for one in shares} != set(languages):
        return None
    return combined(shares)


def combined(shares: Sequence[LanguageShare]) -> tuple[float, float | None, float | None] | None:
    """Share of the full model's nDCG@10 over the queries of several languages together, and its 95% interval.

    The share is exact: sums of what each language's means were made of. The interval is made of theirs, as of
    independent samples (half widths add in squares); None where a language has none.
    """
    whole = sum(one.queries * one.full_ndcg for one in shares)
    if not whole:
        return None
    value = sum(one.queries * one.ndcg for one in shares) / whole
    variance = 0.0
    for one in shares:
        if one.retained_low is None or one.retained_high is None:
            return value, None, None
        half = (one.retained_high - one.retained_low) / 2
        variance += (one.queries * one.full_ndcg / whole * half) ** 2
    return value, value - sqrt(variance), value + sqrt(variance)
