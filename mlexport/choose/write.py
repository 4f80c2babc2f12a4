"""The recipe that makes what was chosen."""

from __future__ import annotations

from pathlib import Path

from mlexport.chosen import NAMES, Limits, Option, asked, limit_of, shown
from mlexport.errors import ExportError, UsageError
from mlexport.recipe import Recipe
from mlexport.recipe_checks import DEMAND_TOKENS
from mlexport.recipes import recipe_yaml
from mlexport.run.ledger import write_whole
from mlexport.spec import AUTO, parse_size


def chosen_recipe(
    option: Option, base: Recipe, *, model: str, profile: str, limits: Limits, languages: tuple[str, ...]
) -> Recipe:
    """The recipe of the sweep that measured the option, at this one point, with the limits as demands."""
    data = base.model_dump(mode="json", exclude_defaults=True)
    data.pop("grid", None)
    precision = {**data.get("precision", {}), "names": [option.precision]}
    if option.precision != AUTO:
        precision = {key: value for key, value in precision.items() if key not in ("min_cosine", "max_size")}
    vocabulary = {**data.get("vocabulary", {}), "keep": (option.vocab or "").split()}
    return Recipe.model_validate(
        {
            **data,
            "title": f"{option.label} for {profile}",
            "whom": f"An app on {profile} that asks for {_words(limits, languages)}.",
            "model": model,
            "cut": {**data.get("cut", {}), "layers": option.layers, "rank": option.rank, "dim": option.dim},
            "vocabulary": vocabulary if option.vocab else {},
            "precision": precision,
            "targets": [option.target],
            "profiles": [profile],
            "measure": {**data.get("measure", {}), "tokens": [DEMAND_TOKENS]},
            "evaluation": {**data.get("evaluation", {}), "retention": True},
            "demands": {
                "max_size": None if limits.max_bytes is None else _size(limits.max_bytes),
                "max_latency_ms": limits.max_ms,
                # Of all languages together, nobody has asked it
                "min_retention": None if languages else limits.min_retention,
            },
        }
    )


def _words(limits: Limits, languages: tuple[str, ...]) -> str:
    named = [f"{NAMES[one]} {shown(one, limit_of(limits, one))}" for one in asked(limits)]
    return ", ".join([*named, *languages]) or "the best it can run"


def _size(count: int) -> str:
    """As people write it, where that is exact."""
    text = f"{count / 1e6:g}MB"
    return text if parse_size(text) == count else str(count)


def check_file(path: Path, *, force: bool) -> None:
    """Refuse a file before anything is measured for it.

    Raises:
        UsageError: it does not end in .yaml.
        ExportError: it exists and `force` is not given, or its folder does not.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--out {path} does not end in .yaml: recipes are told from names by that")
    if not path.absolute().parent.is_dir():
        raise ExportError(
            f"{path} cannot be written: there is no folder {path.absolute().parent}. Choose another --out"
        )
    if path.exists() and not force:
        raise ExportError(f"{path} exists: choose another --out, or pass --force to replace it")


def write_recipe(recipe: Recipe, path: Path) -> str:
    """Write it; the command that runs it stands in its first line.

    Raises:
        ExportError: it cannot be written.
    """
    write_whole(path, recipe_yaml(recipe, f"mlexport run {path}"))
    return str(path)
