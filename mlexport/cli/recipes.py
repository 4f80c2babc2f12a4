"""Commands about recipes: recipes ls, show, cp, validate, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlexport.cli.app import AsJson, app, print_json
from mlexport.errors import DocumentError, ExportError, UsageError

recipes = typer.Typer(
    help="Recipes: what to make for which device, as one YAML file.", rich_markup_mode=None, no_args_is_help=True
)
app.add_typer(recipes, name="recipes")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe, as `ls` lists them, or a .yaml file.")]
OutFile = Annotated[Path, typer.Argument(metavar="FILE", help="File to write; a folder keeps the recipe's name.")]


@recipes.command("ls")
def list_recipes(as_json: AsJson = False) -> None:
    """List the shipped recipes.

    \b
    mlexport recipes ls
    """
    from mlexport.recipes import load_recipe, recipe_files, run_command  # noqa: PLC0415
    from mlexport.report.console import make_console  # noqa: PLC0415
    from mlexport.report.recipes import recipes_data, show_recipes  # noqa: PLC0415

    found = {name: (load_recipe(name), run_command(path)) for name, path in recipe_files().items()}
    if as_json:
        print_json(recipes_data(found))
    else:
        show_recipes(make_console(), found)


@recipes.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Print a recipe; with --json every key, defaults too.

    \b
    mlexport recipes show android-search
    """
    from mlexport.recipes import find_recipe, load_recipe, recipe_data  # noqa: PLC0415

    if as_json:
        print_json(recipe_data(load_recipe(name)))
    else:
        typer.echo(find_recipe(name).read_text(encoding="utf-8").rstrip())


@recipes.command("cp")
def copy(
    name: Name,
    file: OutFile,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a recipe to begin your own with.

    \b
    mlexport recipes cp android-search my.yaml
    """
    from mlexport.recipes import copy_recipe  # noqa: PLC0415

    written = copy_recipe(name, file, force=force)
    if as_json:
        print_json({"recipe": name, "file": str(written)})
    else:
        typer.echo(f"{written}\nnext: edit it, then `mlexport recipes validate {written}`, `mlexport run {written}`")


@recipes.command()
def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recipes: files, or names of shipped ones.")],
    as_json: AsJson = False,
) -> None:
    """Check recipes; every error at once, with file and line.

    \b
    mlexport recipes validate my.yaml other.yaml
    """
    from mlexport.recipes import load_recipe  # noqa: PLC0415

    problems: dict[str, list[str]] = {}
    for name in files:
        try:
            load_recipe(name)
            problems[name] = []
        except DocumentError as error:
            problems[name] = list(error.problems)
        except UsageError as error:
            problems[name] = [str(error)]
    if as_json:
        print_json([{"recipe": name, "valid": not found, "problems": found} for name, found in problems.items()])
    else:
        for name, found in problems.items():
            typer.echo("\n".join(found) if found else f"{name}: valid")
    count = sum(map(len, problems.values()))
    if count:
        wrong = sum(bool(found) for found in problems.values())
        raise UsageError(f"{count} {'error' if count == 1 else 'errors'} in {wrong} of {len(files)} recipes")


@recipes.command()
def schema(
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of a recipe, for editors (it is JSON with and without --json).

    Beside your recipes as schema.json, it is what their line "yaml-language-server: $schema=schema.json" names.

    \b
    mlexport recipes schema --out schema.json
    """
    from mlexport.recipes import recipe_schema, schema_text  # noqa: PLC0415

    if out is None:
        print_json(recipe_schema())
        return
    try:
        out.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror}") from None
    if as_json:
        print_json({"file": str(out)})
    else:
        typer.echo(str(out))
