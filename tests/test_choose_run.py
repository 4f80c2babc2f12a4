"""`mlexport choose` on a tiny checkpoint: what it measures, keeps and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlexport.cli import main
from mlexport.recipes import find_recipe, load_recipe
from mlexport.run import plan_run
from mlexport.swept import read_sweep
from tests.swept import write_data
from tests.tiny import make_tiny


def call(*arguments: str) -> int:
    """The command's exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["choose", *arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name a tiny model and a small evaluation set."""
    folder = tmp_path_factory.mktemp("choose")
    model = make_tiny(folder / "tiny", rank=None)
    data = write_data(folder / "set")
    return ["--model", str(model), "--data", str(data), "--profile", "pixel-8-cpu", "-t", "onnx"]


def test_choose(
    inputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [*inputs, "--max-latency", "0.03s", "--max-size", "60MB"]

    assert call(*asked, "--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["plan"]
    assert planned["option"] is None
    assert not list(tmp_path.iterdir())

    assert call(*asked, "--measure", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    option = found["option"]
    assert found["new"] == 2
    assert option["bytes"] <= 60e6
    assert option["low_ms"] < option["ms"] <= 30.0
    # The same numbers as in the sweep's file
    [file] = tmp_path.glob("out/choose-tiny-*/sweep.sqlite")
    points = read_sweep(file).points
    [point] = [
        one
        for one in points
        if (one.spec, one.precision, one.target) == (option["spec"], option["precision"], option["target"])
    ]
    assert (point.bytes, point.retained) == (option["bytes"], option["retained"])
    assert option["retained"] >= max(one.retained or 0.0 for one in points) - 0.001

    # The recipe is one that runs: its plan has the cut, and breaks no demand
    recipe = load_recipe("./chosen.yaml")
    assert find_recipe("./chosen.yaml").read_text(encoding="utf-8").startswith("# mlexport run chosen.yaml\n")
    plan = plan_run(recipe, "chosen")
    assert [one.label for one in plan.slices] == [f"{option['spec']} {option['target']} {option['precision']}"]
    assert not plan.checks

    assert call(*asked) == 4
    assert capsys.readouterr().err == (
        "error: chosen.yaml exists: choose another --out, or pass --force to replace it\n"
    )
    # What was measured is not measured again
    assert call(*asked, "--measure", "2", "--force", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["new"], again["option"]) == (0, found["option"] | {"source": again["option"]["source"]})

    sweep = ["--sweep", str(file), "--out", "de.yaml"]
    assert call(*inputs, *sweep, "--languages", "de", "--json") == 0
    german = json.loads(capsys.readouterr().out)
    shares = {one.cut: one.retained for one in read_sweep(file).languages if one.language == "de"}
    assert german["option"]["retained"] == pytest.approx(max(value or 0.0 for value in shares.values()), abs=1e-3)
    assert load_recipe("de.yaml").demands.min_retention is None


def test_impossible(
    inputs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*inputs, "--max-latency", "0.001ms", "--max-size", "60MB", "--measure", "0") == 11
    ended = capsys.readouterr()
    assert "error: no cut of" in ended.err
    assert "latency binds. With the others kept, the smallest change is --max-latency" in ended.err
    assert "nothing fits" in ended.out
    assert not Path("chosen.yaml").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prefer", "cheap"], "--prefer cheap: choose from size, latency, quality"),
        (["--min-retention", "95"], "--min-retention 95 is not a share of 1, such as 0.95"),
        (["--out", "chosen"], "--out chosen does not end in .yaml: recipes are told from names by that"),
        (["-t", "hf"], "target hf does not run on profile pixel-8-cpu (it runs onnx, gguf): choose another"),
        (["--sweep", "none"], "none does not exist: expected the folder or the file of `mlexport sweep`"),
    ],
)
def test_mistakes(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("--profile", "pixel-8-cpu", *options) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
