"""`mlexport sweep` as a user runs it: its numbers against separate `slice --eval` runs, its file, what is done once."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from mlexport.artifact import read_artifact
from mlexport.checkpoint import open_checkpoint
from mlexport.cli import main
from mlexport.documents import read_document
from mlexport.errors import UsageError
from mlexport.evaluation import evaluate_artifacts
from mlexport.pipeline import slice_model, verify_artifact
from mlexport.quantize import blocks
from mlexport.recipe import Recipe
from mlexport.request import SliceRequest
from mlexport.sweep import SweepOptions, plan_sweep, run_sweep
from mlexport.swept import DONE, FAILED, REFUSED, Point, Sweep, is_sweep, read_sweep
from mlexport.tensors import LazyTensor
from tests.swept import GRID, write_data, write_recipe
from tests.tiny import make_tiny

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # float32 and no factors: a rank cut is made by SVD
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=12, rank=None, dtype="float32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, model: Path, data: Path) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe") / "grid.yaml", model, data, GRID)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Sweep:
    """24 points in gguf, onnx and hf, of which hf has no int8; artifacts that pass are kept.

    Three random layers with a table of rank 8 stay below the threshold of ONNX's int8.
    """
    return sweep(recipe, tmp_path_factory.mktemp("sweep") / "out", keep=True)


def sweep(recipe: Path, out: Path, **options: Any) -> Sweep:
    return run_sweep(plan_sweep(read_document(recipe, Recipe)), SweepOptions(out=out, **options))


def test_every_combination_is_a_point_and_those_that_cannot_be_say_why(swept: Sweep) -> None:
    assert Counter(point.status for point in swept.points) == {DONE: 14, FAILED: 2, REFUSED: 8}
    assert {(p.layers, p.rank, p.target) for p in swept.points if p.status == FAILED} == {(3, 8, "onnx")}
    refused = {point.reason for point in swept.points if point.status == REFUSED}
    assert refused == {"precision 'int8' is not one of target hf: choose from f32, f16, bf16"}
    assert len({(p.layers, p.rank, p.dim, p.precision, p.target) for p in swept.points}) == len(swept.points)


@pytest.mark.parametrize(
    "axes", [(3, None, 16, "gguf"), (1, 8, 64, "gguf"), (1, 8, 16, "onnx")], ids=lambda axes: "-".join(map(str, axes))
)
def test_a_points_numbers_are_those_of_a_separate_run(
    swept: Sweep, model: Path, data: Path, tmp_path: Path, axes: tuple[int, int | None, int, str]
) -> None:
    layers, rank, dim, target = axes
    request = SliceRequest(
        model=str(model), layers=layers, rank=rank, dim=dim, targets=(target,), precisions=("int8",),
        out=tmp_path / "a", allow_untrained=True,
    )  # fmt: skip
    [made] = slice_model(request)
    [row] = evaluate_artifacts([made.artifact.folder], data=data).artifacts
    [variant] = made.artifact.manifest.variants
    files = {entry.path: entry.sha256 for entry in made.artifact.manifest.files}
    [point] = [p for p in swept.points if (p.layers, p.rank, p.dim, p.target) == axes and p.bytes]
    assert point.bytes == row.bytes == made.artifact.manifest.shipped_bytes(variant)
    assert point.file_sha256 == files[variant.model_file]
    assert point.planned_bytes == variant.sizes["table_bytes"] + variant.sizes["body_bytes"]
    report, kept = variant.verification, row.retention
    assert report.mean_cosine == pytest.approx(point.mean_cosine, abs=1e-6)
    assert report.min_cosine == pytest.approx(point.min_cosine, abs=1e-6)
    for own, other in (
        (point.full_ndcg, kept.full_ndcg.value),
        (point.ndcg, kept.ndcg.value),
        (point.retained, kept.retained_ndcg.value),
        (point.retained_low, kept.retained_ndcg.low),
        (point.retained_high, kept.retained_ndcg.high),
        (point.overlap, kept.overlap.value),
        (point.correlation, kept.correlation.value),
    ):
        assert own == pytest.approx(other, abs=1e-9)
    languages = {one.language: one for one in swept.languages if one.cut == point.cut}
    assert {one.language: one.queries for one in kept.languages} == {n: o.queries for n, o in languages.items()}
    assert all(languages[one.language].retained == pytest.approx(one.retained.value) for one in kept.languages)


def test_kept_artifacts_are_whole(swept: Sweep) -> None:
    kept = [point for point in swept.points if point.status == DONE]
    for point in kept:
        assert point.artifact is not None
        artifact = read_artifact(Path(point.artifact))
        assert (artifact.manifest.spec, artifact.manifest.target) == (point.spec, point.target)
        assert artifact.manifest.shipped_bytes(artifact.manifest.variants[0]) == point.bytes
        retention = artifact.manifest.variants[0].retention
        assert retention is not None
        assert retention.retained_ndcg.value == point.retained
    assert kept[0].artifact is not None
    [report] = verify_artifact(Path(kept[0].artifact)).values()
    assert report.status == "passed"


def test_the_file_is_read_by_pandas_and_duckdb_without_a_network(swept: Sweep) -> None:
    path = swept.path.with_name("points.parquet")
    frame = pd.read_parquet(path)
    assert len(frame) == len(swept.points)
    assert list(frame.columns) == list(asdict(swept.points[0]))
    done = [point for point in swept.points if point.status == DONE]
    best = max(done, key=lambda point: point.retained or 0.0)
    with duckdb.connect() as database:
        query = f"SELECT spec, retained FROM '{path}' WHERE status = 'done' ORDER BY retained DESC LIMIT 1"
        assert database.execute(query).fetchone() == (best.spec, best.retained)
    with sqlite3.connect(swept.path) as database:
        same = pd.read_sql("SELECT * FROM points", database)
    assert same["bytes"].dropna().tolist() == [point.bytes for point in swept.points if point.bytes is not None]


def test_its_facts_say_what_it_depends_on(swept: Sweep, recipe: Path) -> None:
    assert json.loads(swept.facts["recipe"]) == read_document(recipe, Recipe).model_dump(mode="json")
    [run] = swept.runs
    assert json.loads(run.environment)["numpy"] == np.__version__
    assert run.finished is not None
    assert is_sweep(swept.path.parent) and not is_sweep(recipe.parent)
    assert not (swept.path.parent / "work").exists()


def test_a_tensor_is_read_factored_and_quantised_once_for_all_depths_and_dims(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"layers": [1, 2, 3], "dim": [64, 16], "rank": [8], "precision": ["int8"], "target": ["onnx"]}
    path = write_recipe(tmp_path / "r.yaml", model, data, grid)
    whole: Counter[str] = Counter()
    quantised: Counter[tuple[int, ...]] = Counter()
    factored = []

    def opened(name: str) -> Any:
        checkpoint = open_checkpoint(name)

        def counted(tensor: LazyTensor) -> LazyTensor:
            def read_rows(start: int, stop: int) -> Any:
                # Planning looks at a sample of rows
                whole[tensor.name] += (start, stop) == (0, tensor.shape[0])
                return tensor.read_rows(start, stop)

            return LazyTensor(name=tensor.name, shape=tensor.shape, stored=tensor.stored, read_rows=read_rows)

        return replace(checkpoint, tensors={name: counted(t) for name, t in checkpoint.tensors.items()})

    def int8_rows(values: Any) -> Any:
        quantised[values.shape] += 1
        return blocks.int8_rows(values)

    def eigh(matrix: Any) -> Any:
        factored.append(matrix.shape)
        return plain(matrix)

    plain = np.linalg.eigh
    monkeypatch.setattr("mlexport.sweep.shared.open_checkpoint", opened)
    monkeypatch.setattr("mlexport.export.onnx.matmul.int8_rows", int8_rows)
    monkeypatch.setattr("numpy.linalg.eigh", eigh)
    sweep(path, tmp_path / "out")
    names = [name for name in open_checkpoint(str(model)).tensors if name.endswith("_proj.weight")]
    assert {name: whole[name] for name in names} == dict.fromkeys(names, 1)
    # Once for its right singular vectors, once for the rows of the left factor
    assert whole["embed_tokens.weight"] == 2
    assert factored == [(64, 64)]
    # Seven matrices in each of three layers, but for those whose peaks are stored in another scheme
    assert 0 < sum(quantised.values()) <= 7 * 3


def test_a_sweep_that_is_done_is_not_done_again(swept: Sweep, recipe: Path) -> None:
    before = swept.points
    again = sweep(recipe, swept.path.parent, keep=True)
    assert again.points == before
    assert again.steps == swept.steps
    assert len(again.runs) == len(swept.runs) + 1


def test_a_grid_can_be_widened(swept: Sweep, model: Path, data: Path, tmp_path: Path) -> None:
    wide = {**GRID, "layers": [1, 2, 3], "target": ["onnx"]}
    first = sweep(write_recipe(tmp_path / "a.yaml", model, data, {**wide, "layers": [1, 3]}), tmp_path / "out")
    second = sweep(write_recipe(tmp_path / "b.yaml", model, data, wide), tmp_path / "out")
    assert second.points[: len(first.points)] == first.points
    assert {p.layers for p in second.points[len(first.points) :]} == {2}
    # The full model's vectors come from the cache
    tasks = {"reference", "full model", "L2 onnx int8", "L2-R8 onnx int8"}
    assert {step.task for step in second.steps if step.run == 2} == tasks


def test_other_settings_are_another_sweep(swept: Sweep, model: Path, data: Path, tmp_path: Path) -> None:
    other = write_recipe(tmp_path / "r.yaml", model, data, GRID, precision={"names": ["int8"], "table": "f32"})
    with pytest.raises(UsageError) as error:
        sweep(other, swept.path.parent)
    assert str(error.value) == (
        f"{swept.path} holds a sweep with other settings (precision): its points do not compare. "
        "Choose another --out, or pass --force to start over"
    )


def test_stored_vectors_have_the_range_of_their_own_dim(model: Path, data: Path, tmp_path: Path) -> None:
    grid = {"layers": [1], "dim": [64, 16], "target": ["onnx"]}
    path = write_recipe(tmp_path / "r.yaml", model, data, grid, precision={"names": ["f32"], "vectors": "int8"})
    found = sweep(path, tmp_path / "out", keep=True)
    for point in found.points:
        assert point.artifact is not None
        request = SliceRequest(
            model=str(model), layers=1, dim=point.dim, targets=("onnx",), precisions=("f32",), vectors="int8",
            out=tmp_path / f"separate-{point.dim}", allow_untrained=True,
        )  # fmt: skip
        [separate] = slice_model(request)
        own = read_artifact(Path(point.artifact)).manifest
        assert own.vectors.range == pytest.approx(separate.artifact.manifest.vectors.range, rel=1e-5)
        assert point.retained_stored == pytest.approx(point.retained, abs=0.2)
        assert own.variants[0].retention is not None
        assert own.variants[0].retention.stored[0].range == own.vectors.range


def test_a_point_that_fails_its_verification_keeps_its_numbers_and_no_artifact(swept: Sweep) -> None:
    failed = [point for point in swept.points if point.status == FAILED]
    for point in failed:
        assert (point.reason or "").startswith(f"cosine to the reference mean {point.mean_cosine:.5f}, min ")
        assert point.bytes and point.retained
        assert point.artifact is None
    assert not (swept.path.parent / "artifacts" / "L3-R8-D64-onnx-int8").exists()


def test_command(recipe: Path, swept: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["sweep", str(recipe), "--dry-run", "--json"])
    assert end.value.code == 0
    planned = json.loads(capsys.readouterr().out)
    assert [(cut["spec"], cut["bytes"]) for cut in planned["cuts"]] == [
        (point.spec, point.planned_bytes) for point in swept.points
    ]
    with pytest.raises(SystemExit):
        main(["sweep", str(recipe), "--out", str(swept.path.parent)])
    text = capsys.readouterr().out
    assert "points        14 done, 8 refused, 2 failed" in text
    with pytest.raises(SystemExit):
        main(["sweep", str(recipe), "--out", str(swept.path.parent), "--json"])
    points = json.loads(capsys.readouterr().out)["points"]
    assert [Point(**point) for point in points] == list(read_sweep(swept.path).points)


def test_report_shows_it(swept: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    with pytest.raises(SystemExit) as end:
        main(["report", str(swept.path.parent), "--out", str(page), "--json"])
    assert end.value.code == 0
    done = [point for point in swept.points if point.status == DONE]
    found = json.loads(capsys.readouterr().out)["sweep"]
    assert [(one["name"], one["bytes"], one["retained"]) for one in found] == [
        (point.label, point.bytes, point.retained) for point in done
    ]
    assert "L1-R8-D16 gguf q8_0" in page.read_text(encoding="utf-8")
