"""The verification itself: it passes what is right, and fails what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from mlexport import verify as verification
from mlexport.artifact import VerifyReport
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import MissingExtraError, UsageError, VerificationError
from mlexport.export import huggingface
from mlexport.model import SubModel
from mlexport.probes import PROBES, SAMPLE_NAMES, over_long
from mlexport.quantize.plan import plan_tensors
from mlexport.runtime.tokens import TextEncoder
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.tiny import make_tiny


@pytest.fixture(scope="module")
def sub(tmp_path_factory: pytest.TempPathFactory) -> SubModel:
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model", layers=2, append_eos=True)
    return cut(open_checkpoint(str(folder)), SubModelSpec.parse("L2-R8-D32"), allow_untrained=True)


@pytest.fixture
def artifact(sub: SubModel, tmp_path: Path) -> Path:
    huggingface.write(sub, plan_tensors(sub, Target.HF, "f32", None), tmp_path, lambda _: None)
    return tmp_path


def check(sub: SubModel, folder: Path, mode: str = "full") -> VerifyReport:
    with verification.Reference(sub, mode) as reference:
        return verification.verify(reference, Target.HF, precisions=["f32"], folder=folder, model_file=".")


def test_a_right_artifact_passes_on_every_probe(sub: SubModel, artifact: Path) -> None:
    report = check(sub, artifact)
    assert report.status == "passed"
    assert report.texts == len(PROBES) + 1
    assert report.min_cosine is not None
    assert report.min_cosine >= 0.99999
    assert report.token_mismatches == 0
    assert report.split_change is None
    assert "transformers" in report.reference


def test_sample_runs_one_layer_at_a_time_and_says_what_it_left_out(sub: SubModel, artifact: Path) -> None:
    report = check(sub, artifact, "sample")
    assert report.status == "passed"
    assert report.texts == len(SAMPLE_NAMES)
    assert f"{len(PROBES) - len(SAMPLE_NAMES)} of {len(PROBES)} probe texts" in report.not_checked[0]


def test_the_largest_residual_is_that_of_transformers(sub: SubModel, artifact: Path) -> None:
    folder = sub.checkpoint.folder
    shallow = cut(sub.checkpoint, SubModelSpec.parse("L1-D64"))
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    limit = sub.checkpoint.text.max_length
    expected = 0.0
    for probe in PROBES:
        if probe.name in SAMPLE_NAMES:
            ids = tokenizer(probe.text, truncation=True, max_length=limit, return_tensors="pt")
            with torch.no_grad():
                # After the first of two layers: before the final norm
                expected = max(expected, model(**ids, output_hidden_states=True).hidden_states[1].abs().max().item())
    for mode in ("full", "sample"):
        with verification.Reference(shallow, mode) as reference:
            found = reference.answers().largest_residual
        assert found is not None
        assert found >= expected - 1e-3
    assert found == pytest.approx(expected, rel=1e-4)


def test_off_checks_nothing_and_says_so(sub: SubModel, artifact: Path) -> None:
    report = check(sub, artifact, "off")
    assert (report.status, report.texts, report.mean_cosine) == ("off", 0, None)
    assert "not compared" in report.not_checked[0]


def test_a_wrong_weight_fails(sub: SubModel, artifact: Path) -> None:
    tensors = load_file(artifact / "model.safetensors")
    tensors["layers.1.mlp.down_proj.weight"] *= 1.2
    save_file(tensors, artifact / "model.safetensors", metadata={"format": "pt"})
    assert check(sub, artifact).status == "failed"


def test_other_token_ids_fail_even_where_the_vectors_would_pass(
    sub: SubModel, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = json.loads((artifact / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = None
    (artifact / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    # Qwen2Tokenizer would bring its own normaliser
    settings = json.loads((artifact / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (artifact / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    monkeypatch.setattr(verification, "threshold_for", lambda *_: verification.Threshold(mean=-1.0, min=-1.0))
    report = check(sub, artifact)
    assert report.token_mismatches > 0
    assert report.status == "failed"
    assert report.worst_text.startswith(("vi", "ko", "nfd", "hi", "emoji", "bn", "pa", "compat", "km"))


def test_nan_vectors_fail(sub: SubModel, artifact: Path) -> None:
    tensors = load_file(artifact / "model.safetensors")
    tensors["norm.weight"] = np.full_like(tensors["norm.weight"], np.nan)
    save_file(tensors, artifact / "model.safetensors", metadata={"format": "pt"})
    report = check(sub, artifact)
    assert (report.status, report.min_cosine) == ("failed", -1.0)


@pytest.mark.usefixtures("cold_children")
def test_a_reference_that_stops_is_one_line(sub: SubModel, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(artifact))
    (artifact / "torch.py").write_text("raise RuntimeError('no torch today')")
    with pytest.raises(VerificationError, match=r"exit code 1: RuntimeError: no torch today$"):
        check(sub, artifact)


def test_a_missing_library_names_the_pip_line(sub: SubModel, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "mlexport\[torch\]"'):
        check(sub, artifact)


def test_too_little_memory_proposes_the_smaller_check(
    sub: SubModel, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "MEMORY_SHARE", 0.0)
    with pytest.raises(VerificationError, match=r"needs about .* GB of memory, .* pass --verify sample"):
        check(sub, artifact)


def test_thresholds_are_the_loosest_of_body_and_table() -> None:
    both = verification.threshold_for(["f32", "q4_k_m"])
    assert both == verification.THRESHOLDS["q4_k_m"]
    assert both.min < both.mean < verification.THRESHOLDS["q8_0"].mean


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown verification 'half': choose from full, sample, off"):
        verification.parse_mode("half")


def test_the_over_long_probe_is_over_long(sub: SubModel, artifact: Path) -> None:
    text = sub.checkpoint.text
    ids = TextEncoder(artifact, text).ids([over_long(text.max_length).text])[0]
    assert len(ids) == text.max_length
    assert ids[-1] == text.end_id
