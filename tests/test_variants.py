"""Several precisions in one folder, and files that take text: each is verified, opened by name, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import mlexport
from mlexport.artifact import MANIFEST
from mlexport.errors import ArtifactError, UsageError
from tests.reference import hand_cut
from tests.test_cli import run, run_json
from tests.tiny import make_tiny
from tests.written import sliced

TEXTS = ["edit photos", "ゲーム", "", "a"]
CUT = {"layers": 2, "dim": 32}
# precisions asked for -> variant name: file
FILES = {
    "gguf": {"q8_0": "model-L2-D32-Q8_0.gguf", "f32": "model-L2-D32-F32.gguf"},
    "onnx": {
        "int8": "onnx/model_quantized.onnx",
        "f32": "onnx/model.onnx",
        "f16": "onnx/model_fp16.onnx",
        "int4_b32": "onnx/model_q4.onnx",
    },
    "openvino": {
        "int8_sym": "openvino/openvino_model.xml",
        "int4_sym": "openvino/openvino_model_int4_sym.xml",
        "f32": "openvino/openvino_model_f32.xml",
    },
}
LOWEST = {"f32": 0.99999, "f16": 0.9999}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=64)


@pytest.fixture(scope="module")
def texted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("text") / "o"
    sliced(model, out, **CUT, targets=["onnx"], precisions=["int8", "f32"], text_in=True)
    return out


@pytest.mark.parametrize("target", FILES)
def test_one_folder_holds_several_precisions(model: Path, tmp_path: Path, target: str) -> None:
    [result] = sliced(model, tmp_path / "o", **CUT, targets=[target], precisions=list(FILES[target]))
    manifest = result.artifact.manifest
    assert {variant.name: variant.model_file for variant in manifest.variants} == FILES[target]
    assert all(variant.verification.status == "passed" for variant in manifest.variants)
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32)
    for name in FILES[target]:
        with mlexport.open_artifact(tmp_path / "o", name) as opened:
            assert opened.variant.name == name
            cosines = (opened.embed(TEXTS) * expected).sum(axis=1)
        assert cosines.min() >= LOWEST.get(name, 0.9)
    # Unnamed, the first one asked for
    with mlexport.open_artifact(tmp_path / "o") as opened:
        assert opened.variant.name == next(iter(FILES[target]))


def test_text_files_are_variants_with_their_own_verification(texted: Path, model: Path) -> None:
    manifest = mlexport.read_artifact(texted).manifest
    assert [variant.name for variant in manifest.variants] == ["int8", "int8-text", "f32", "f32-text"]
    inside = manifest.variant("f32-text")
    assert (inside.takes, inside.model_file) == ("text", "onnx/model_text.onnx")
    report = inside.verification
    assert (report.status, report.token_mismatches) == ("passed", 0)
    assert report.min_cosine is not None
    assert report.min_cosine >= 0.99999
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32)
    with mlexport.open_artifact(texted, "f32-text") as opened:
        assert (opened.embed(TEXTS) * expected).sum(axis=1).min() >= 0.99999
    again = mlexport.verify_artifact(texted)
    assert {name: report.status for name, report in again.items()} == dict.fromkeys(
        ("int8", "int8-text", "f32", "f32-text"), "passed"
    )


def test_a_text_file_of_another_tokenizer_fails(model: Path, texted: Path, tmp_path: Path) -> None:
    """The ids inside the file itself are compared, not only those of a tokenizer before it was written."""
    other = make_tiny(tmp_path / "other", max_length=48)
    sliced(other, tmp_path / "o", **CUT, targets=["onnx"], precisions=["f32"], text_in=True)
    manifest = json.loads((tmp_path / "o" / MANIFEST).read_text(encoding="utf-8"))
    manifest["text"]["max_length"] = 64
    (tmp_path / "o" / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    found = mlexport.verify_artifact(tmp_path / "o", variant="f32-text", model=str(model))
    assert found["f32-text"].status == "failed"
    assert found["f32-text"].token_mismatches > 0


def test_variants_on_the_command_line(texted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = {}
    for name in ("f32", "f32-text", "int8"):
        found = run_json(capsys, "embed", texted, "edit photos", "--variant", name)
        vectors[name] = np.array(found["embeddings"][0]["embedding"])
    assert vectors["f32"] @ vectors["f32-text"] >= 0.999999
    assert 0.9 < vectors["f32"] @ vectors["int8"] < 0.999999
    code, _, err = run(capsys, "search", texted, "photos", "--variant", "q4")
    assert code == ArtifactError.exit_code
    assert err == "error: this artifact has no variant 'q4': choose from int8, int8-text, f32, f32-text\n"
    assert list(run_json(capsys, "verify", texted, "--variant", "f32", "--mode", "sample")["verification"]) == ["f32"]
    shown = run_json(capsys, "inspect", texted)
    assert [variant["name"] for variant in shown["variants"]] == ["int8", "int8-text", "f32", "f32-text"]
    _, text, _ = run(capsys, "inspect", texted)
    assert "int8-text: mean" in text


def test_a_folder_for_transformers_holds_one(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target hf holds one precision, got f32, f16: make one folder for each"):
        sliced(model, tmp_path / "o", targets=["hf"], precisions=["f32", "f16"])
