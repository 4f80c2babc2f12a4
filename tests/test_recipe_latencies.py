"""Latencies of sweeps and runs: what `estimate` gives for the artifacts, why there are none, demands of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from mlexport.cli import main
from mlexport.documents import read_document
from mlexport.pipeline.estimate import EstimateRequest, estimate_latency
from mlexport.recipe import Recipe
from mlexport.sweep import SweepOptions, plan_sweep, run_sweep
from mlexport.swept import DONE, Point, PointLatency, Sweep
from tests.swept import write_data, write_recipe
from tests.tiny import make_tiny
from tests.written import sliced

pytestmark = pytest.mark.usefixtures("shared_cache")

PROFILES = ("pixel-8-cpu", "raspberry-pi-5")
GRID: Mapping[str, object] = {
    "layers": [2],
    "dim": [64, 16],
    "precision": ["f32"],
    "target": ["onnx", "gguf"],
    "profile": [*PROFILES, "snapdragon-8-gen-3-npu"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=64)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Sweep:
    folder = tmp_path_factory.mktemp("sweep")
    measure = {"tokens": [32, 128], "batch": [1, 4]}
    recipe = write_recipe(folder / "grid.yaml", model, write_data(folder / "data"), GRID, measure=measure)
    return run_sweep(plan_sweep(read_document(recipe, Recipe)), SweepOptions(out=folder / "out", keep=True))


def of_point(swept: Sweep, point: Point) -> dict[tuple[int, int], PointLatency]:
    return {(one.tokens, one.batch): one for one in swept.latencies if one.point == point.point}


def test_a_points_latency_is_the_estimate_of_its_artifact(swept: Sweep) -> None:
    """The artifact is counted from its own graph, the point from the plan that its body shares with other dims."""
    compared = 0
    for point in swept.points:
        if point.profile not in PROFILES:
            continue
        assert (point.status, point.latency_kind) == (DONE, "estimated"), point.label
        assert point.artifact is not None and point.profile is not None
        request = EstimateRequest(subjects=[point.artifact], profiles=[point.profile], tokens=(32, 128), batches=(1, 4))
        own = of_point(swept, point)
        assert len(own) == 4
        for one in estimate_latency(request).estimates:
            found = own[one.tokens, one.batch]
            # Numbers past a dim are computed and left out: in llama.cpp by whoever reads them
            assert found.ms == pytest.approx(one.ms, rel=0.02)
            assert (found.low_ms, found.high_ms) == pytest.approx((one.low_ms, one.high_ms), rel=0.02)
            compared += 1
        column = own[128, 1]
        assert (point.latency_ms, point.latency_tokens, point.memory_bytes) == (column.ms, 128, column.memory_bytes)
    assert compared == 2 * 2 * 2 * 4


def test_a_point_that_a_device_does_not_run_says_why_and_keeps_its_quality(swept: Sweep) -> None:
    points = [point for point in swept.points if point.profile == "snapdragon-8-gen-3-npu"]
    assert len(points) == 4
    for point in points:
        assert (point.status, point.latency_kind, point.latency_ms) == (DONE, "refused", None)
        assert point.retained is not None
        notes = {one.note or "" for one in of_point(swept, point).values()}
        reason = "takes fixed shapes alone" if point.target == "onnx" else "gguf"
        assert notes and all(reason in note for note in notes)


def test_this_machine_before_it_was_calibrated(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    grid = {"layers": [1], "precision": ["f32"], "target": ["onnx"], "profile": ["local"]}
    recipe = write_recipe(tmp_path / "grid.yaml", model, write_data(tmp_path / "data"), grid)
    found = run_sweep(plan_sweep(read_document(recipe, Recipe)), SweepOptions(out=tmp_path / "out"))
    [point], [latency] = found.points, found.latencies
    assert (point.status, point.latency_kind, point.latency_ms) == (DONE, "refused", None)
    assert "mlexport calibrate-device" in (latency.note or "")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def write_own(path: Path, model: Path, **more: object) -> Path:
    """A recipe of a small cut; JSON is YAML."""
    recipe = {
        "title": "t",
        "whom": "w",
        "model": str(model),
        "cut": {"layers": 2, "dim": 16},
        "targets": ["onnx"],
        "precision": {"names": ["f32"]},
        "evaluation": {"verify": "sample"},
        "profiles": ["pixel-8-cpu"],
        "measure": {"tokens": [128]},
        "demands": {"max_latency_ms": 1000},
    }
    path.write_text(json.dumps(recipe | more), encoding="utf-8")
    return path


def test_a_run_holds_its_estimates_against_the_demand(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_own(tmp_path / "mine.yaml", model), tmp_path / "out"
    code, text, _ = run(capsys, "run", recipe, "--out", out)
    request = EstimateRequest(subjects=[str(out / "onnx")], profiles=["pixel-8-cpu"], tokens=(128,))
    [expected] = estimate_latency(request).estimates
    assert code == 0
    assert "met     latency of L2-D16 onnx f32 on pixel-8-cpu: " in text
    limit = (expected.ms or 0) / 2
    code, text, error = run(capsys, "run", recipe, "--out", out, "--set", f"demands.max_latency_ms={limit}", "--json")
    found = json.loads(text)
    [check] = found["demands"]
    assert code == 11
    assert (check["met"], check["found"]) == (False, pytest.approx(expected.ms))
    assert check["note"].startswith("estimated ")
    assert "max_latency_ms binds: L2-D16 onnx f32" in error and "(100%)" in error


def test_what_is_not_in_the_files_is_estimated_of_the_plan(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hf folder on a device that runs it; on one that does not, the demand is missed and says so."""
    profiles = ["pixel-8-cpu", "h200-gpu"]
    recipe = write_own(tmp_path / "mine.yaml", model, targets=["onnx", "hf"], profiles=profiles)
    code, text, error = run(capsys, "run", recipe, "--out", tmp_path / "out", "--json")
    found = {(one["file"], one["profile"]): one for one in json.loads(text)["latencies"]}
    assert code == 11
    assert {key for key, one in found.items() if one["ms"] is None} == {("L2-D16 hf f32", "pixel-8-cpu")}
    assert len(found) == 4
    assert error == (
        "error: mine misses 1 of 4 demands; max_latency_ms binds: L2-D16 hf f32 on pixel-8-cpu: nothing was found to "
        "hold against 1,000 ms: pixel-8-cpu has no runtime for target hf: it takes gguf, onnx. Change profiles to "
        "those that run this target, or targets to what they run\n"
    )


@pytest.mark.skipif(find_spec("onnxruntime_qnn") is None, reason="Qualcomm's compiler is for Linux x86-64 alone")
def test_a_compiled_artifact_is_estimated_of_its_plan(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the recipe for a Snapdragon's NPU proposes it."""
    shape = {"static": "1x32", "soc": "sm8650", "targets": ["qnn"], "precision": {"names": ["f16"]}}
    more = {"profiles": ["snapdragon-8-gen-3-npu"], "measure": {"tokens": [32]}}
    code, text, _ = run(
        capsys, "run", write_own(tmp_path / "mine.yaml", model, **shape, **more), "--out", tmp_path / "out", "--json"
    )
    [latency] = json.loads(text)["latencies"]
    assert code == 0
    assert (latency["file"].split()[:2], latency["measured"]) == (["L2-D16", "qnn"], False)
    assert latency["ms"] > 0


def test_an_estimate_of_an_hf_folder_points_to_the_cut(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sliced(model, tmp_path / "hf", verify="off", layers=2, dim=16, targets=["hf"], precisions=["f32"])
    code, _, error = run(capsys, "estimate", tmp_path / "hf", "--profile", "h200-gpu")
    assert code not in (0, 1)
    assert error == (
        f"error: {tmp_path}/hf is target hf: its operations are not in its files. Estimate the cut itself, "
        "`mlexport estimate L2-D16 --target hf`\n"
    )
