"""`mlexport run`: every shipped recipe on the demo, what is made again and what is not, demands that are missed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlexport.artifact import read_artifact, verify_files
from mlexport.cli import main
from mlexport.recipes import load_recipe, recipe_files, recipe_sha256
from mlexport.run import plan_run, run_recipe
from tests.small_data import make_data
from tests.tiny import make_tiny

pytestmark = pytest.mark.usefixtures("shared_cache")

NAMES = list(recipe_files())
# The least that a run measures, on the smallest comparison with transformers
CHEAP = (
    "evaluation.verify=sample",
    "measure.min_calls=3",
    "measure.min_seconds=0",
    "measure.rounds=3",
)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "small")


def test_at_least_ten_recipes_are_run_below() -> None:
    assert len(NAMES) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_on_the_demo(name: str, data: Path, tmp_path: Path) -> None:
    grid = load_recipe(name).grid is not None
    own = ["grid=null"] if grid else []
    settings = ["model=demo", "evaluation.retention=true", "evaluation.sample=null", f"evaluation.data={data}"]
    recipe = load_recipe(name, [*settings, *CHEAP, *own, "demands.min_retention=null"])
    result = run_recipe(plan_run(recipe, name, out=tmp_path / name))
    assert [artifact.manifest.target for artifact in result.artifacts] == list(recipe.targets)
    for artifact in result.artifacts:
        verify_files(artifact)
        assert artifact.manifest.model == "demo"
        for variant in artifact.manifest.variants:
            assert variant.verification.status == "passed"
            kept = variant.retention
            assert variant.takes == "text" or (kept is not None and kept.retained_ndcg.value is not None)
    assert result.missed == ()
    assert [platform for platform, _ in result.packs] == list(recipe.outputs.pack)
    assert all((folder / "pack.json").is_file() for _, folder in result.packs)
    assert {one.profile for one in result.latencies} == set(recipe.profiles)
    assert (result.report is None) == (not recipe.profiles)
    written = json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8"))
    assert written["recipe_sha256"] == recipe_sha256(recipe)
    assert load_recipe(str(tmp_path / name / "recipe.yaml")) == recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def mine(model: Path, tmp_path: Path) -> Path:
    """A recipe of a tiny model in two targets."""
    path = tmp_path / "mine.yaml"
    text = f"title: t\nwhom: w\nmodel: {model}\ncut: {{layers: 2, dim: 16}}\ntargets: [onnx, hf]\n"
    text += "precision: {names: [f32]}\nevaluation: {verify: sample}\ndemands: {max_size: 50MB}\n"
    path.write_text(text, encoding="utf-8")
    return path


def times_of(out: Path) -> dict[str, int]:
    return {target: (out / target / "mlexport.json").stat().st_mtime_ns for target in ("onnx", "hf")}


def test_what_lies_there_is_not_made_again(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code, text, error = run(capsys, "run", mine, "--out", out)
    assert (code, error) == (0, "")
    assert "met     size of L2-D16 onnx f32: " in text
    made = times_of(out)
    # Demands and profiles are of what was made, not part of it
    code, text, _ = run(capsys, "run", mine, "--out", out, "--set", "demands.max_size=40MB")
    assert code == 0
    assert f"reused        {out}/onnx  (same recipe, same inputs; --force makes it anew)" in text
    assert times_of(out) == made
    # One that is gone is made again, the other stays
    shutil.rmtree(out / "hf")
    assert run(capsys, "run", mine, "--out", out)[0] == 0
    assert times_of(out)["onnx"] == made["onnx"]
    assert read_artifact(out / "hf").manifest.spec == "L2-D16"
    # Another recipe's artifacts are not replaced unasked
    code, _, error = run(
        capsys, "run", mine, "--out", out, "--set", "cut.layers=1", "--set", "cut.allow_untrained=true"
    )
    assert code == 4
    assert error == (
        f"error: {out}/onnx was made from another recipe, other inputs or by another version: pass --force to make it "
        "anew, or choose another --out\n"
    )
    arguments = ("--set", "cut.layers=1", "--set", "cut.allow_untrained=true", "--force")
    assert run(capsys, "run", mine, "--out", out, *arguments)[0] == 0
    assert read_artifact(out / "onnx").manifest.spec == "L1-D16"


def test_a_run_that_was_killed_between_two_targets_goes_on(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlexport.pipeline import make

    recipe, out, real, calls = load_recipe(str(mine)), tmp_path / "out", make._make, list[str]()

    def killed(plan: Any, *rest: Any, **named: Any) -> Any:
        calls.append(plan.target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(plan, *rest, **named)

    monkeypatch.setattr(make, "_make", killed)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(plan_run(recipe, "mine", out=out))
    assert (out / "onnx" / "mlexport.json").is_file()
    assert not (out / "hf").exists()
    first = (out / "onnx" / "mlexport.json").stat().st_mtime_ns
    plan = plan_run(recipe, "mine", out=out)
    assert (plan.there, [one.target for one in plan.slices], plan.stale) == (("onnx",), ["hf"], ())
    result = run_recipe(plan)
    assert (calls, result.reused) == (["onnx", "hf", "hf"], ("onnx",))
    assert (out / "onnx" / "mlexport.json").stat().st_mtime_ns == first
    # A changed checkpoint is another input
    (Path(recipe.model) / "model.safetensors").touch()
    assert plan_run(recipe, "mine", out=out).stale == ("onnx", "hf")


def test_a_missed_demand_says_which_binds_by_how_much_and_what_to_change(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    settings = ("--set", "demands={max_size: 10KB, min_cosine: 0.9}", "--set", "targets=onnx")
    code, text, error = run(capsys, "run", mine, "--out", out, *settings)
    size = sum(entry.bytes for entry in read_artifact(out / "onnx").manifest.files)
    over = f"{size / 1e6:.2f} MB is over 0.01 MB by {(size - 10_000) / 1e6:.2f} MB ({(size - 10_000) / 1e4:.0%})"
    assert code == 11
    assert f"missed  size of L2-D16 onnx f32: {over}. Change " in text
    assert "met     cosine of L2-D16 onnx f32: 1.0000, at least 0.9000" in text
    assert error.startswith(f"error: mine misses 1 of 2 demands; max_size binds: L2-D16 onnx f32: {over}. Change ")
    # What was made stays
    assert read_artifact(out / "onnx").manifest.spec == "L2-D16"
    code, text, _ = run(capsys, "run", mine, "--out", out, *settings, "--json")
    assert code == 11
    found = json.loads(text)
    assert (found["met"], [check["met"] for check in found["demands"]]) == (False, [False, True])
    assert found["demands"][0]["found"] == size


def test_a_dry_run_writes_nothing_and_knows_what_cannot_be(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("run", mine, "--out", out, "--set", "demands.max_size=10KB", "--dry-run")
    code, text, _ = run(capsys, *arguments)
    assert code == 0
    assert not out.exists()
    assert "mine: t (dry run: nothing is written)" in text
    assert "cannot be     size of L2-D16 onnx f32: " in text
    code, text, _ = run(capsys, *arguments, "--json")
    found = json.loads(text)
    planned = {file["target"]: file["bytes"] for file in found["files"]}
    assert [check["met"] for check in found["broken_demands"]] == [False, False]
    assert run(capsys, "run", mine, "--out", out)[0] == 0
    for target in ("onnx", "hf"):
        [variant] = read_artifact(out / target).manifest.variants
        assert variant.sizes["table_bytes"] + variant.sizes["body_bytes"] == planned[target]


def test_a_grid_is_for_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "run", "smallest-90-percent", "--out", tmp_path / "out")
    assert code == 2
    assert error == (
        "error: smallest-90-percent has a grid: `mlexport sweep smallest-90-percent` makes its points. Leave the grid "
        "out with --set grid=null to make its own cut alone\n"
    )


def test_a_folder_of_something_else_is_left_alone(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "diary.txt").write_text("mine", encoding="utf-8")
    code, _, error = run(capsys, "run", mine, "--out", out, "--force")
    assert (code, error) == (4, f"error: {out} exists and is not a folder of `mlexport run`: choose another --out\n")
    assert (out / "diary.txt").read_text(encoding="utf-8") == "mine"
