"""The shipped recipes for people and scripts."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from mlexport.recipe import Recipe
from mlexport.report.console import line


def show_recipes(console: Console, found: Mapping[str, tuple[Recipe, str]]) -> None:
    """Name, title and for whom."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("recipe", "what", "targets"):
        table.add_column(title, no_wrap=title == "recipe")
    for name, (recipe, _) in found.items():
        table.add_row(name, recipe.title, ", ".join(targets_of(recipe)))
    console.print(table)
    example = next(iter(found.values()))[1] if found else ""
    line(console, "next", f"{example} --set model=demo --dry-run")


def targets_of(recipe: Recipe) -> tuple[str, ...]:
    """What it makes, its grid's targets in place of its own."""
    return recipe.grid.target if recipe.grid is not None and recipe.grid.target else recipe.targets


def recipes_data(found: Mapping[str, tuple[Recipe, str]]) -> list[Mapping[str, object]]:
    """One object a recipe."""
    return [
        {
            "name": name,
            "title": recipe.title,
            "whom": recipe.whom,
            "command": command,
            "model": recipe.model,
            "targets": list(targets_of(recipe)),
            "profiles": list(recipe.profiles),
            "grid": recipe.grid is not None,
        }
        for name, (recipe, command) in found.items()
    ]
