"""The shipped recipes: how they open, that they fit, and the commands that list, copy and check them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlexport.cli import main
from mlexport.pipeline import plan_slice
from mlexport.recipe import Recipe
from mlexport.recipes import (
    SCHEMA_FILE,
    load_recipe,
    recipe_data,
    recipe_files,
    recipe_sha256,
    recipe_yaml,
    run_command,
    schema_text,
    slice_request,
)
from mlexport.spec import parse_size
from tests.real_shapes import make_hollow

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "recipes").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
# People that the recipes were asked for
WANTED = (
    *("android-search", "iphone-notes", "browser", "raspberry-pi-rag", "laptop-npu", "snapdragon-npu"),
    *("english-only", "cyrillic-latin", "best-under-200mb", "smallest-90-percent"),
)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    return json.loads(out)


def test_there_are_at_least_ten_and_those_that_were_asked_for() -> None:
    assert len(NAMES) >= 10
    assert set(WANTED) <= set(NAMES)
    assert list(recipe_files()) == NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command_and_says_for_whom(path: Path) -> None:
    recipe = load_recipe(path.stem)
    first, second, *rest = path.read_text(encoding="utf-8").splitlines()
    verb = "run" if recipe.grid is None else "sweep"
    assert first == f"# mlexport {verb} {path.stem}"
    assert second.startswith(f"# mlexport {verb} {path.stem} --set model=demo ")
    assert run_command(path) == first.removeprefix("# ")
    comments = [line for line in rest[: rest.index(f"title: {recipe.title}")] if line]
    assert comments[1].startswith("# For ")
    assert comments[-1] == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    assert len(recipe.whom) > 20


@pytest.fixture(scope="module")
def hollow(tmp_path_factory: pytest.TempPathFactory, qwen2_files: Path) -> Path:
    """ML-Embed-0.6B's shapes and vocabulary without its numbers."""
    return make_hollow(tmp_path_factory.mktemp("hollow") / "model", qwen2_files)


@pytest.mark.parametrize("name", [name for name in NAMES if load_recipe(name).grid is None])
def test_a_recipe_fits_the_released_model_into_its_size(name: str, hollow: Path, tmp_path: Path) -> None:
    recipe = load_recipe(name, [f"model={hollow}"])
    # A mixture of precisions is chosen by losses, which numbers are needed for; int8 is its upper end
    if recipe.precision.names == ("auto",):
        recipe = load_recipe(name, [f"model={hollow}", "precision={names: [int8], vectors: int8}"])
    # Rounding on text changes no size
    recipe = recipe.model_copy(update={"precision": recipe.precision.model_copy(update={"calibrate": None})})
    for plan in plan_slice(slice_request(recipe, tmp_path / name)):
        [variant] = [one for one in plan.variants if one.takes == "ids"]
        tokens = plan.sub.config.vocabulary
        # Qwen's tokenizer.json has 11.4 MB for 151,646 tokens with their merges; the rest is graph and manifest
        tokenizer = 11.5e6 * tokens / 151_646
        limit = parse_size(recipe.demands.max_size) if recipe.demands.max_size else 400e6
        assert 0.4 * limit < variant.sizes.bytes + tokenizer + 0.5e6 < limit


def test_ls_lists_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "recipes", "ls")
    assert code == 0
    assert all(name in text for name in NAMES)
    found = run_json(capsys, "recipes", "ls")
    assert [one["name"] for one in found] == NAMES
    [android] = [one for one in found if one["name"] == "android-search"]
    assert android["command"] == "mlexport run android-search"
    assert (android["targets"], android["grid"]) == (["onnx", "gguf"], False)


def test_show_prints_the_file_or_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "recipes", "show", "browser")
    assert code == 0
    assert text == (ROOT / "recipes" / "browser.yaml").read_text(encoding="utf-8")
    data = run_json(capsys, "recipes", "show", "browser")
    assert data == recipe_data(load_recipe("browser"))
    assert data["evaluation"]["verify"] == "full"


def test_a_copy_runs_itself_and_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    assert run(capsys, "recipes", "cp", "browser", mine)[0] == 0
    lines = mine.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# mlexport run {mine}"
    assert lines[1].startswith(f"# mlexport run {mine} --set model=demo ")
    assert load_recipe(str(mine)) == load_recipe("browser")
    code, _, error = run(capsys, "recipes", "cp", "browser", mine)
    assert code == 4
    assert error == f"error: {mine} exists: choose another file, or pass --force to replace it\n"
    assert run(capsys, "recipes", "cp", "iphone-notes", mine, "--force")[0] == 0
    assert run_json(capsys, "recipes", "cp", "browser", tmp_path) == {
        "recipe": "browser",
        "file": str(tmp_path / "browser.yaml"),
    }
    code, _, error = run(capsys, "recipes", "cp", "browser", tmp_path / "mine.txt")
    assert (code, "does not end in .yaml" in error) == (2, True)


def test_validate_prints_every_error_of_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, worse = tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    bad.write_text("title: t\nwhom: w\ntargets: [onnx]\ncut: {layer: 2}\n", encoding="utf-8")
    worse.write_text("title: t\ntargets: [onnx, gguf]\nstatic: 1x64\nmeasure: {tokens: [64]}\n", encoding="utf-8")
    code, text, error = run(capsys, "recipes", "validate", "browser", bad, worse)
    assert text.splitlines() == [
        "browser: valid",
        f"{bad}:4: unknown key 'cut.layer': did you mean 'layers'?",
        f"{worse}:1: missing key 'whom'",
        f"{worse}:3: 'static' is for targets onnx, openvino and qnn, not for gguf: leave one of them out",
    ]
    assert (code, error) == (2, "error: 3 errors in 2 of 3 recipes\n")
    code, text, _ = run(capsys, "recipes", "validate", *NAMES)
    assert code == 0
    assert text.splitlines() == [f"{name}: valid" for name in NAMES]
    code, out, _ = run(capsys, "recipes", "validate", bad, "--json")
    assert code == 2
    assert json.loads(out) == [
        {"recipe": str(bad), "valid": False, "problems": [f"{bad}:4: unknown key 'cut.layer': did you mean 'layers'?"]}
    ]


def test_the_schema_beside_the_recipes_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = (ROOT / "recipes" / SCHEMA_FILE).read_text(encoding="utf-8")
    assert shipped == schema_text(), "run `make docs`"
    assert run(capsys, "recipes", "schema", "--out", tmp_path / "schema.json")[0] == 0
    assert (tmp_path / "schema.json").read_text(encoding="utf-8") == shipped
    schema = run_json(capsys, "recipes", "schema")
    assert schema == json.loads(shipped)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["title", "whom", "targets"]
    # Every key is explained to who writes one
    for part in (schema, *schema["$defs"].values()):
        for name, field in part["properties"].items():
            assert "description" in field or "$ref" in json.dumps(field), name


def test_the_page_of_recipes_is_up_to_date() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import generate_recipes as g; print(g.page())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == page.strip(), "run `make docs`"
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / link).exists()


def test_a_recipe_written_out_is_read_back_the_same(tmp_path: Path) -> None:
    for name in NAMES:
        recipe = load_recipe(name, ["model=demo"])
        path = tmp_path / f"{name}.yaml"
        path.write_text(recipe_yaml(recipe, "mlexport run x.yaml"), encoding="utf-8")
        assert path.read_text(encoding="utf-8").startswith("# mlexport run x.yaml\n#\n# For: ")
        assert load_recipe(str(path)) == recipe
        assert recipe_sha256(load_recipe(str(path))) == recipe_sha256(recipe)
        # Plain YAML, for whoever else reads it
        assert Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))) == recipe


@pytest.mark.slow
def test_a_wheel_carries_the_recipes_and_finds_them(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = "import mlexport; from mlexport.recipes import recipe_files, load_recipe; print(mlexport.__file__);"
    code += "[load_recipe(name) for name in recipe_files()]; print(*recipe_files())"
    # Isolated from the checkout: only the unpacked wheel and the installed libraries
    path = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); "
    done = subprocess.run([sys.executable, "-P", "-c", path + code], capture_output=True, text=True, check=True,
                          cwd=tmp_path)  # fmt: skip
    place, names = done.stdout.splitlines()
    assert Path(place).is_relative_to(tmp_path / "installed")
    assert names.split() == NAMES
