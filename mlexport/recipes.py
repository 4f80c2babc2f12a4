"""Finding recipes, changing them by `--set`, and what they ask of `slice`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mlexport.documents import read_document
from mlexport.errors import DocumentError, ExportError, UsageError
from mlexport.mistakes import near
from mlexport.profiles import load_profile
from mlexport.recipe import Recipe
from mlexport.recipe_checks import check_recipe
from mlexport.request import SliceRequest
from mlexport.shipped import shipped

_SUFFIXES = (".yaml", ".yml")
SCHEMA_FILE = "schema.json"


def recipe_files() -> Mapping[str, Path]:
    """Name -> shipped file."""
    return {path.stem: path for path in sorted(shipped("recipes").glob("*.yaml"))}


def find_recipe(name_or_path: str) -> Path:
    """The file of a shipped recipe's name, or a path, which ends in .yaml or has a separator.

    Raises:
        UsageError: no such recipe; the message names the nearest ones.
    """
    files = recipe_files()
    if name_or_path in files:
        return files[name_or_path]
    path = Path(name_or_path)
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        if not path.is_file():
            raise UsageError(f"no recipe {name_or_path}: there is no such file")
        return path
    found = get_close_matches(name_or_path, files, n=3, cutoff=0.6)
    hint = f"the nearest are {', '.join(found)}; " if found else ""
    raise UsageError(f"no recipe '{name_or_path}': {hint}`mlexport recipes ls` lists them, and a path ends in .yaml")


def load_recipe(name_or_path: str, settings: Sequence[str] = ()) -> Recipe:
    """A recipe with what `--set` changes of it, checked.

    Args:
        settings: "cut.layers=4" each; the value is read as YAML, and lists may be written with commas.

    Raises:
        UsageError: no such recipe.
        DocumentError: errors in its file or its settings, all of them.
    """
    path = find_recipe(name_or_path)
    change, wrong = parse_settings(settings)
    if wrong:
        try:
            read_document(path, Recipe, change, check_recipe)
        except DocumentError as error:
            raise _joined(path, [*error.problems, *wrong]) from None
        raise _joined(path, wrong)
    return read_document(path, Recipe, change, check_recipe)


def _joined(path: Path, problems: Sequence[str]) -> DocumentError:
    return DocumentError(path, [], problems)


def parse_settings(settings: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """Values by dotted key as the schema types them, and what is wrong with the others."""
    change: dict[str, object] = {}
    wrong: list[str] = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        field = _fields().get(key)
        if not equals or not key:
            wrong.append(f"--set {setting}: expected KEY=VALUE, such as cut.layers=4")
        elif field is None:
            wrong.append(f"--set {key}: unknown key '{key}'{_near_key(key)}")
        else:
            change[key] = _value(field, text)
    return change, wrong


def _value(field: FieldInfo, text: str) -> object:
    """What YAML makes of the text; the text itself where the field takes that alone, its parts where it is a list."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError):
        value = text
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    options = [value, text]
    if _is_list(field.annotation) and not isinstance(value, list):
        options = [parts := [yaml.safe_load(part) for part in text.split(",")], [str(part) for part in parts], value]
    for option in options:
        try:
            adapter.validate_python(option)
        except ValidationError:
            continue
        return option
    return options[0]


def _is_list(annotation: object) -> bool:
    return getattr(annotation, "__origin__", annotation) is tuple or any(map(_is_list, get_args(annotation)))


def _fields() -> Mapping[str, FieldInfo]:
    return dict(_walk(Recipe, ""))


def _walk(model: type[BaseModel], above: str) -> Iterator[tuple[str, FieldInfo]]:
    """Dotted keys and their fields; a part of the recipe can be set as a whole too, such as grid=null."""
    for name, field in model.model_fields.items():
        yield f"{above}{name}", field
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _walk(inner, f"{above}{name}.")


def _near_key(key: str) -> str:
    known = _fields()
    same_end = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    return f": did you mean '{same_end[0]}'?" if same_end else near(key, known) or "; `mlexport recipes schema` has all"


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe, for editors."""
    schema = Recipe.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The schema as a file."""
    return json.dumps(recipe_schema(), ensure_ascii=False, indent=2) + "\n"


def run_command(path: Path) -> str:
    """The command that a recipe opens with; empty where it does not."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("# mlexport ") else ""


def copy_recipe(name: str, file: Path, *, force: bool) -> Path:
    """A recipe's file at a place of one's own; commands in it name the copy.

    Raises:
        UsageError: no such recipe, or a file that does not end in .yaml.
        ExportError: the file exists or cannot be written.
    """
    source = find_recipe(name)
    target = file / source.name if file.is_dir() else file
    if target.suffix not in _SUFFIXES:
        raise UsageError(f"'{target}' does not end in .yaml: recipes are told from names by that")
    if target.exists() and not force:
        raise ExportError(f"{target} exists: choose another file, or pass --force to replace it")
    text = source.read_text(encoding="utf-8")
    text = re.sub(rf"^(# mlexport (?:run|sweep)) {re.escape(source.stem)}\b", rf"\1 {target}", text, flags=re.MULTILINE)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write {target}: {error.strerror}") from None
    return target


def recipe_data(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, every key written out."""
    data: dict[str, Any] = recipe.model_dump(mode="json")
    return data


def recipe_yaml(recipe: Recipe, command: str) -> str:
    """A recipe as a file, keys at their defaults left out; its first line is the command that runs it."""
    kept = recipe.model_dump(mode="json", exclude_defaults=True)
    # The model in any case, and in its place
    kept = {"title": recipe.title, "whom": recipe.whom, "model": recipe.model, **kept}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return f"# {command}\n#\n# For: {recipe.whom}\n{text}"


def recipe_sha256(recipe: Recipe) -> str:
    """Of the resolved recipe, in hex."""
    return hashlib.sha256(json.dumps(recipe_data(recipe), sort_keys=True).encode()).hexdigest()


def slice_request(recipe: Recipe, out: Path) -> SliceRequest:
    """What `slice` is asked for; `out` as there."""
    precision = recipe.precision
    return SliceRequest(
        model=recipe.model,
        layers=recipe.cut.layers,
        rank=recipe.cut.rank,
        dim=recipe.cut.dim,
        vocab=recipe.vocabulary.keep,
        vocab_coverage=recipe.vocabulary.coverage,
        targets=recipe.targets,
        precisions=precision.names,
        table_precision=precision.table,
        out=out,
        allow_untrained=recipe.cut.allow_untrained,
        text_in=recipe.text_in,
        static=recipe.static,
        vectors=precision.vectors,
        calibrate=precision.calibrate,
        min_cosine=precision.min_cosine,
        max_size=precision.max_size,
        soc=recipe.soc,
        profile=_to_fit(recipe),
    )


def _to_fit(recipe: Recipe) -> str | None:
    """The first of the recipe's profiles that takes fixed shapes alone: operators are checked against it too."""
    for name in recipe.profiles:
        unit = load_profile(name).unit
        runs = {target for runtime in unit.runtimes for target in runtime.targets}
        if unit.shapes == "static" and runs.issuperset(recipe.targets):
            return name
    return None
