"""mlexport estimate and calibrate-device as commands: tables, JSON, refusals, and a machine calibrated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mlexport.cli import main
from mlexport.latency import EstimateResult, read_latency
from mlexport.pipeline import calibrate_device as calibration
from tests.written import sliced


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out, found.err


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("estimate") / "onnx"
    sliced(Path("demo"), out, verify="off", layers=2, dim=32, targets=("onnx",), precisions=("f32", "int8"))
    return out


def test_a_cut_that_was_not_made(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["estimate", "L8-D128", "--profile", "pixel-9-cpu", "--tokens", "32,128"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "pixel-9-cpu: estimated, not measured" in out
    assert "output head" in out
    assert "weakest" in out and "assumed" in out


def test_artifact_and_cut_agree(capsys: pytest.CaptureFixture[str], artifact: Path, tmp_path: Path) -> None:
    file = tmp_path / "estimate.json"
    arguments = ["--profile", "raspberry-pi-5-cpu", "--tokens", "64", "--out", str(file)]
    code, _, _ = run(capsys, "estimate", str(artifact), "L2-D32", "-t", "onnx", "-p", "f32,int8", *arguments)
    found = read_latency(file)
    assert code == 0 and isinstance(found, EstimateResult)
    made, planned = found.estimates[:2], found.estimates[2:]
    assert [one.subject for one in made] == ["onnx: L2-D32 onnx f32", "onnx: L2-D32 onnx int8"]
    assert [one.ms for one in made] == [pytest.approx(one.ms) for one in planned]
    assert found.subjects[0].artifact == str(artifact) and found.subjects[2].artifact is None


def test_json_is_the_file(capsys: pytest.CaptureFixture[str], artifact: Path) -> None:
    arguments = ["estimate", str(artifact), "--variant", "int8", "--profile", "pixel-8-cpu", "--batch", "1,4", "--json"]
    code, out, _ = run(capsys, *arguments, "--tokens", "16")
    found = json.loads(out)
    assert code == 0 and found["kind"] == "estimated"
    one, four = found["estimates"]
    assert (one["batch"], four["batch"]) == (1, 4)
    assert one["ms"] < four["ms"] <= 4 * one["ms"]
    assert {part["bound"] for part in one["parts"]} <= {"compute", "bandwidth", "cache", "overhead"}


def test_an_npu_wants_static_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["estimate", "L4-D64", "-t", "onnx", "-p", "f32", "--profile", "snapdragon-8-gen-3-npu"]
    code, out, _ = run(capsys, *arguments)
    assert code == 2
    assert "Hexagon V75 takes fixed shapes alone" in out and "pass --static 1x128" in out
    code, out, _ = run(capsys, *arguments, "--static", "1x128")
    assert code == 0 and "refused" not in out


def test_an_npu_has_no_integer_products_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    cut = ["estimate", "L4-D64", "-t", "onnx", "-p", "int8", "--static", "1x128"]
    code, out, _ = run(capsys, *cut, "--profile", "snapdragon-8-gen-3-npu")
    assert code == 2 and "has no MatMulInteger on its list of operators (qnn-htp)" in out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nowhere"], "'nowhere' is neither the folder of an artifact nor a cut"),
        (["L8-D128", "--tokens", "many"], "--tokens is 'many': expected numbers with commas between"),
        (["L8-D128", "--tokens", "1"], "--tokens is 1: the least is 2"),
        (["L8-D128", "--batch", "0"], "--batch is 0: the least is 1"),
        (["L99-D128"], "layers 99 is outside"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], error: str) -> None:
    code, _, err = run(capsys, "estimate", *arguments, "--profile", "pixel-9-cpu")
    assert code == 2
    assert err.startswith(f"error: {error}") and err.count("\n") == 1


def test_nothing_is_replaced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("mine", encoding="utf-8")
    code, _, err = run(capsys, "calibrate-device", "--out", str(tmp_path / "mine.yaml"))
    assert (code, (tmp_path / "mine.yaml").read_text(encoding="utf-8")) == (4, "mine")
    assert "pass --force" in err
    code, _, err = run(capsys, "calibrate-device", "--out", str(tmp_path / "mine.txt"))
    assert code == 2 and "must end in .yaml" in err


@pytest.mark.slow
def test_a_machine_is_calibrated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, on fewer models: times are this machine's, so that only their form is looked at."""
    monkeypatch.setattr(calibration, "_DEMO_LAYERS", (1, 2))
    monkeypatch.setattr(calibration, "_PROBE_LAYERS", (1,))
    monkeypatch.setattr(calibration, "PRECISIONS", {calibration.Target.ONNX: ("int8",)})
    file = tmp_path / "mine.yaml"
    code, out, _ = run(capsys, "calibrate-device", "--target", "onnx", "--rounds", "1", "--out", str(file))
    assert code == 0 and "int8" in out and "128 rows" in out
    times = yaml.safe_load(file.read_text(encoding="utf-8"))["units"]["cpu"]["times"]["onnxruntime"]
    assert set(times["schemes"]["int8"]["by_tokens"]) == {1, 16, 64, 128, 256, 512}
    code, out, _ = run(capsys, "estimate", "L4-D64", "-t", "onnx", "-p", "int8", "--profile", str(file))
    assert code == 0 and "measured" in out
