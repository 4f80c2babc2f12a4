"""The commands as a user types them: what they print, write, and return."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import mlexport
from mlexport.cli import main
from tests.tiny import make_tiny
from tests.written import sliced


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    return json.loads(out)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def artifacts(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cut in both targets, f32, verified."""
    out = tmp_path_factory.mktemp("out") / "both"
    sliced(model, out, layers=2, dim=16, targets=("gguf", "hf"), precisions=["f32"])
    return out


def test_slice_writes_verifies_and_prints_what_it_did(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, text, _ = run(capsys, "slice", "-m", model, "--layers", 2, "--rank", 8, "--dim", 16, "--out", out)
    assert code == 0
    for word in ("model → L2-R8-D16 · gguf q8_0", "before", "after", "cosine", "passed", "next", "mlexport search"):
        assert word in text
    assert sorted(path.name for path in out.iterdir()) == ["mlexport.json", "model-L2-R8-D16-Q8_0.gguf"]
    manifest = json.loads((out / "mlexport.json").read_text(encoding="utf-8"))
    assert manifest["variants"][0]["verification"]["status"] == "passed"


def test_several_targets_get_a_folder_each(artifacts: Path) -> None:
    assert sorted(path.name for path in artifacts.iterdir()) == ["gguf", "hf"]
    for target in ("gguf", "hf"):
        report = mlexport.read_artifact(artifacts / target).manifest.variants[0].verification
        assert (report.status, report.token_mismatches) == ("passed", 0)
        assert report.min_cosine is not None
        assert report.min_cosine >= 0.99999


def test_a_dry_run_gives_exact_sizes_and_writes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("slice", "-m", model, "--layers", 2, "-t", "gguf,hf", "-p", "f16", "--out", tmp_path / "out")
    plans = run_json(capsys, *arguments, "--dry-run")
    assert not (tmp_path / "out").exists()
    results = run_json(capsys, *arguments, "--verify", "off")
    for plan, result in zip(plans, results, strict=True):
        [planned], [written] = plan["variants"], result["variants"]
        assert (plan["before"], planned["sizes"]) == (result["before"], written["sizes"])
        tensors = sum(row["bytes"] for row in planned["plan"])
        files = {entry["path"]: entry["bytes"] for entry in result["files"]}
        name = written["model_file"] if plan["target"] == "gguf" else "model.safetensors"
        # Header, metadata and vocabulary come on top of the tensors
        assert tensors < files[name] < tensors + 2**20
        assert written["verification"]["not_checked"]
    code, text, _ = run(capsys, *arguments, "--dry-run")
    assert code == 0
    assert "dry run: nothing is written" in text
    assert "layers.*.mlp.up_proj.weight (2)" in text


def test_embed_gives_sentence_transformers_vectors(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["edit photos", "ゲーム", ""]
    reference = SentenceTransformer(str(artifacts / "hf"), device="cpu")
    for query, prompt in ((False, ""), (True, "Query: ")):
        expected = reference.encode(texts, prompt=prompt)
        for target in ("gguf", "hf"):
            found = run_json(capsys, "embed", artifacts / target, *texts, *(["--query"] if query else []))
            vectors = np.array([row["embedding"] for row in found["embeddings"]])
            assert (vectors * expected).sum(axis=1).min() >= 0.99999
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(["edit photos", "ゲーム", "", ""]), encoding="utf-8")
    code, out, _ = run(capsys, "embed", artifacts / "gguf", "--file", source, "--out", tmp_path / "v.npy")
    assert (code, out) == (0, "")
    saved = np.load(tmp_path / "v.npy")
    assert (saved.dtype, saved.shape) == (np.float32, (3, 16))
    assert (saved * reference.encode(texts, prompt="")).sum(axis=1).min() >= 0.99999


def test_search_finds_the_same_in_both_runtimes(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "notes.txt"
    corpus.write_text("edit photos\nplay music\nsend mail\n", encoding="utf-8")
    orders = []
    for target in ("gguf", "hf"):
        found = run_json(capsys, "search", artifacts / target, "photos", "mail", "--corpus", corpus, "-k", 2)
        assert found["documents"] == 3
        orders.append([[hit["id"] for hit in query["hits"]] for query in found["results"]])
    assert orders[0] == orders[1]
    code, text, _ = run(capsys, "search", artifacts / "gguf", "photos", "--corpus", corpus)
    assert code == 0
    assert "edit photos" in text


def test_inspect_shows_a_checkpoint_and_an_artifact(
    model: Path, artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(capsys, "inspect", model)
    assert found["trained"] == {"layers": [1, 2, 3], "ranks": [8, 16], "dims": [8, 16, 32, 64]}
    _, text, _ = run(capsys, "inspect", model)
    assert "--layers 1 2 3" in text
    assert "the tokenizer appends it" in text
    assert run_json(capsys, "inspect", artifacts / "gguf")["spec"] == "L2-D16"
    _, text, _ = run(capsys, "inspect", artifacts / "gguf", "--tensors")
    assert "layers.1.mlp.down_proj.weight" in text


def test_verify_passes_a_sound_artifact_and_fails_a_changed_one(
    model: Path, artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_json(capsys, "verify", artifacts / "gguf")["verification"]["f32"]["status"] == "passed"
    # The checkpoint changed since: files still match, vectors do not
    other = make_tiny(tmp_path / "other", seed=1)
    code, _, err = run(capsys, "verify", artifacts / "gguf", "--model", other)
    assert code == 5
    assert err.startswith("error: verify failed for ")
    assert err.count("\n") == 1
    code, text, _ = run(capsys, "verify", artifacts / "gguf", "--mode", "off")
    assert code == 0
    assert "1 match their sha256" in text


def test_a_sampled_verification_writes_down_what_it_left_out(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [result] = run_json(capsys, "slice", "-m", model, "--layers", 1, "--out", tmp_path / "o", "--verify", "sample")
    manifest = json.loads((tmp_path / "o" / "mlexport.json").read_text(encoding="utf-8"))
    report = manifest["variants"][0]["verification"]
    assert report == result["variants"][0]["verification"]
    assert any("probe texts (--verify sample)" in sentence for sentence in report["not_checked"])


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("slice", "inspect", "embed", "search", "verify", "eval"):
        code, text, _ = run(capsys, command, "--help")
        assert code == 0
        assert f"mlexport {command} " in text.replace("Usage: mlexport", "")


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'torch', 'transformers', 'gguf', 'llama_cpp', 'rich', 'tokenizers', 'safetensors'}"
    code = (
        "import sys, mlexport.cli\n"
        "try: mlexport.cli.main(['slice', '--help'])\n"
        f"except SystemExit: print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_the_library_names_are_all_there() -> None:
    assert dir(mlexport) == sorted(mlexport.__all__)
    assert all(getattr(mlexport, name) is not None for name in mlexport.__all__)
    with pytest.raises(AttributeError, match="no attribute 'slice_all'"):
        mlexport.slice_all  # noqa: B018


def test_a_cut_folder_can_be_inspected_as_a_checkpoint(artifacts: Path, tmp_path: Path) -> None:
    shutil.copytree(artifacts / "hf", tmp_path / "cut", ignore=shutil.ignore_patterns("mlexport.json"))
    found = mlexport.inspect(str(tmp_path / "cut"))
    assert found.checkpoint.trained_dims == (8, 16)
    assert [cut.spec for cut in found.cuts] == ["L1-D64", "L2-D64"]
