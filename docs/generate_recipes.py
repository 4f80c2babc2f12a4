"""Write docs/recipes.md and recipes/schema.json from the recipes and their schema: python docs/generate_recipes.py"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlexport.recipe import Recipe
from mlexport.recipes import SCHEMA_FILE, load_recipe, recipe_files, recipe_schema, run_command, schema_text
from mlexport.shipped import shipped

PAGE = Path(__file__).with_name("recipes.md")
_INTRODUCTION = """\
# Recipes

Generated from `recipes/*.yaml` and their schema by `make docs`; a test keeps it up to date, and another one runs every
recipe on the small checkpoint in the package.

A recipe is one YAML file: the model, how it is cut, its vocabulary, precision and targets, for which devices, what is
measured, what the result has to meet, and what is made of it.

```
mlexport recipes ls                                       # the shipped ones, below
mlexport run android-search --set model=demo --dry-run    # the plan with exact sizes; nothing is written
mlexport run android-search --set model=demo              # out/android-search: artifacts, numbers, packs, report.html
mlexport recipes cp android-search mine.yaml              # begin your own with it
mlexport recipes validate mine.yaml                       # every error at once, with file and line
mlexport recipes schema --out schema.json                 # completion and checks in editors (yaml-language-server)
```

`mlexport run` makes every target from one checkpoint, verifies it against one reference, measures what it keeps,
measures latency here where a profile is `local` and estimates it for the others, holds all of that against the demands,
and packs it. A demand that is not met ends with exit code 11, and says which limit binds, by how much, and what to
change; what was made stays. Run it again and only what is missing or has changed is made: a killed run goes on where it
was. What another recipe made is not replaced without `--force`.

`--set KEY=VALUE` changes any key below; the value is YAML, lists may be written with commas:
`--set cut.layers=4 --set targets=onnx,gguf --set grid=null`. Paths in a recipe are relative to where the command runs.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_shipped(), *_keys()])


def _shipped() -> Iterator[str]:
    yield "## Shipped\n"
    yield "| recipe | for whom | makes | demands |"
    yield "|---|---|---|---|"
    for name, path in recipe_files().items():
        recipe = load_recipe(name)
        file = f"[`{name}`](../recipes/{path.name})"
        yield f"| {file} | {recipe.whom} | {_made(recipe)} | {_demands(recipe)} |"
    yield ""
    yield "Each opens with the command that runs it:\n"
    yield "```"
    yield from (run_command(path) for path in recipe_files().values())
    yield "```\n"


def _made(recipe: Recipe) -> str:
    if recipe.grid is not None:
        axes = {axis: values for axis in type(recipe.grid).model_fields if (values := getattr(recipe.grid, axis))}
        return "a grid: " + " × ".join(f"{len(values)} {axis}" for axis, values in axes.items())
    cut = recipe.cut.model_dump(exclude_none=True, exclude={"allow_untrained"})
    parts = [
        ", ".join(f"{axis} {value}" for axis, value in cut.items()),
        f"vocabulary {' + '.join(recipe.vocabulary.keep)}" if recipe.vocabulary.keep else "",
        f"{', '.join(recipe.targets)} in {', '.join(recipe.precision.names)}",
        f"static {recipe.static}" if recipe.static else "",
    ]
    return "; ".join(filter(None, parts))


def _demands(recipe: Recipe) -> str:
    wanted = recipe.demands.model_dump(exclude_none=True)
    return ", ".join(f"{key} {value}" for key, value in wanted.items()) or "–"


def _keys() -> Iterator[str]:
    schema = recipe_schema()
    yield "## Keys\n"
    yield "| key | takes | by default | what |"
    yield "|---|---|---|---|"
    yield from _rows(schema, schema["$defs"], "")


def _rows(part: Mapping[str, Any], known: Mapping[str, Any], above: str) -> Iterator[str]:
    for name, field in part["properties"].items():
        inner = _model(field, known)
        what = " ".join(field.get("description", inner.get("description", "") if inner else "").split())
        default = "required" if name in part.get("required", []) else _default(field, inner)
        takes = "keys below" if inner else _takes(field, known)
        yield f"| `{above}{name}` | {takes} | {default} | {what} |"
        if inner:
            yield from _rows(inner, known, f"{above}{name}.")


def _model(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of the schema that a key holds, if it holds keys."""
    for option in [field, *field.get("anyOf", []), *field.get("allOf", [])]:
        found = known.get(str(option.get("$ref", "")).rpartition("/")[2])
        if found is not None and "properties" in found:
            return dict(found)
    return None


def _default(field: Mapping[str, Any], inner: Mapping[str, Any] | None) -> str:
    value = field.get("default")
    if inner is not None or value is None or value == []:
        return "–"
    return f"`{', '.join(map(str, value)) if isinstance(value, list) else str(value).lower()}`"


def _takes(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    return " or ".join(dict.fromkeys(_type(option, known) for option in options))


def _type(option: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "enum" in option:
        return ", ".join(f"`{value}`" for value in option["enum"])
    if option.get("type") == "array":
        return f"list of {_takes(option['items'], known)}"
    names = {"string": "text", "boolean": "true, false", "integer": "whole number", "number": "number"}
    return names[option["type"]]


def main() -> None:
    PAGE.write_text(page().rstrip() + "\n", encoding="utf-8")
    (shipped("recipes") / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
