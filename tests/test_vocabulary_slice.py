"""`slice --vocab` the whole way: planned, written, verified, reported, and verified again from what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlexport
from mlexport.kept import KEPT_FILE
from mlexport.request import SliceRequest
from mlexport.vocabulary import load_tokenizer
from tests.reference import hand_cut
from tests.test_cli import run, run_json
from tests.tiny import make_tiny
from tests.written import sliced

VOCAB = ("scripts:Latn,Grek", "2000")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", layers=2, vocabulary=16500)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    path.write_text("chess game\nlecteur de musique\nсад\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def artifacts(model: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cut in every target, f32, verified."""
    out = tmp_path_factory.mktemp("out") / "all"
    targets = ("gguf", "hf", "onnx", "openvino")
    sliced(model, out, rank=8, dim=16, targets=targets, precisions=["f32"], vocab=(*VOCAB, f"corpus:{corpus}"))
    return out


@pytest.mark.parametrize("target", ["gguf", "hf", "onnx", "openvino"])
def test_every_target_is_verified_and_keeps_what_it_did(
    artifacts: Path, model: Path, corpus: Path, target: str
) -> None:
    artifact = mlexport.read_artifact(artifacts / target)
    manifest, [variant] = artifact.manifest, artifact.manifest.variants
    report, verification = manifest.vocabulary, variant.verification
    assert report is not None and report.corpus is not None
    assert manifest.spec == f"L2-V{report.tokens}-R8-D16"
    assert (report.tokens_before, report.asked) == (16384, f"scripts:Latn,Grek + 2000 + corpus:{corpus}")
    assert report.corpus.tokens_before == report.corpus.tokens_after
    assert artifact.text.end_id == report.tokens - 1
    assert (verification.status, verification.token_mismatches) == ("passed", 0)
    assert verification.min_cosine is not None and verification.min_cosine >= 0.99999
    assert verification.split_change is not None and verification.split_change.texts > 5
    assert KEPT_FILE in {entry.path for entry in manifest.files}
    # What the table would have more: planned for the same cut with every row
    request = SliceRequest(model=str(model), rank=8, dim=16, targets=(target,), precisions=["f32"])
    [whole] = mlexport.plan_slice(request)
    saved = whole.variants[0].sizes.table_bytes - variant.sizes["table_bytes"]
    assert report.bytes_saved == {"f32": saved}


def test_verify_makes_the_cut_again_from_the_artifact(artifacts: Path) -> None:
    report = mlexport.verify_artifact(artifacts / "gguf", "sample")["f32"]
    assert report.status == "passed"
    before = mlexport.read_artifact(artifacts / "gguf").manifest.variants[0].verification
    assert report.split_change is not None and before.split_change is not None
    assert 0 < report.split_change.texts < before.split_change.texts


def test_an_app_gets_the_vectors_of_the_whole_model(artifacts: Path, model: Path) -> None:
    texts = ["chess game", "lecteur de musique", "сад"]
    expected = hand_cut(model, [f"Query: {text}" for text in texts], layers=2, rank=8, dim=16)
    for target in ("gguf", "onnx"):
        with mlexport.open_artifact(artifacts / target) as opened:
            assert (opened.embed(texts, query=True) * expected).sum(axis=1).min() >= 0.99999
            assert opened.search(["chess game"], [], top=1)[0].hits == ()


def test_quantised_tables_of_an_odd_number_of_rows(model: Path, tmp_path: Path) -> None:
    targets, precisions = ("gguf", "onnx", "openvino"), ["int8", "int4", "f16"]
    for result in sliced(model, tmp_path / "o", targets=targets, precisions=precisions, vocab=("2002",)):
        manifest = result.artifact.manifest
        assert manifest.vocabulary is not None and manifest.vocabulary.tokens % 2
        assert [variant.verification.status for variant in manifest.variants] == ["passed"] * 3
        assert set(manifest.vocabulary.bytes_saved) == {variant.name for variant in manifest.variants}


def test_files_that_take_text_have_the_new_tokenizer_inside(model: Path, tmp_path: Path) -> None:
    targets = ("onnx", "openvino")
    for result in sliced(model, tmp_path / "o", targets=targets, precisions=["f32"], text_in=True, vocab=VOCAB):
        ids, text = result.artifact.manifest.variants
        assert (ids.takes, text.takes) == ("ids", "text")
        assert text.verification.status == ids.verification.status == "passed"
        assert text.verification.min_cosine is not None and text.verification.min_cosine >= 0.99999
        assert result.artifact.manifest.vocabulary is not None
        assert set(result.artifact.manifest.vocabulary.bytes_saved) == {"f32"}


def test_static_shapes(model: Path, tmp_path: Path) -> None:
    [result] = sliced(model, tmp_path / "o", targets=("onnx",), precisions=["f32"], static="1x32", vocab=("2000",))
    assert result.artifact.manifest.variants[0].verification.status == "passed"
    assert result.artifact.text.max_length == 32


def test_a_changed_vocabulary_file_is_seen(artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = artifacts / "onnx"
    path = folder / KEPT_FILE
    content = path.read_text(encoding="utf-8")
    path.write_text(content.replace("1", "2", 1), encoding="utf-8")
    try:
        code, _, err = run(capsys, "verify", folder)
    finally:
        path.write_text(content, encoding="utf-8")
    assert code == 7 and "vocabulary.json changed since it was written" in err


# ---- The command


def test_the_command_prints_tokens_bytes_lengths_and_the_change_of_splits(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["chess game"] * 999 + ["сад"]
    (tmp_path / "c.txt").write_text("\n".join(lines), encoding="utf-8")
    given = ("--vocab", "1500", "--vocab", f"corpus:{tmp_path / 'c.txt'}", "--vocab-coverage", 0.99)
    code, text, _ = run(capsys, "slice", "-m", model, *given, "--verify", "sample", "--out", tmp_path / "o")
    assert code == 0
    artifact = mlexport.read_artifact(tmp_path / "o")
    report = artifact.manifest.vocabulary
    change = artifact.manifest.variants[0].verification.split_change
    assert report is not None and report.corpus is not None and change is not None
    shown = " ".join(text.split())
    assert f"vocabulary 16,384 → {report.tokens:,} tokens (1500 + corpus:" in shown
    assert "c.txt, coverage 0.99), table 1.0 MB less" in shown
    probes, found = report.probes, report.corpus
    assert f"tokens/char probe texts {probes.before:.3f} → {probes.after:.3f} (53 texts); corpus" in shown
    assert f"corpus {found.before:.3f} → {found.after:.3f} (1,000 texts)" in shown
    assert f"split changed in {change.texts} of 12 texts; cosine to the vectors of the original split: mean" in shown
    # The rare word fell out, the frequent ones did not
    assert found.tokens_after == found.tokens_before + np.diff([len(i) for i in _ids(model, tmp_path / "o", "сад")])[0]
    code, text, _ = run(capsys, "inspect", tmp_path / "o")
    assert code == 0 and "tokens/char" in text and "split" in text


def _ids(model: Path, artifact: Path, text: str) -> list[list[int]]:
    """Of the whole tokenizer, and of what vocabulary.json leaves of it: the artifact is a GGUF file."""
    from mlexport.bpe import sliced_tokenizer
    from mlexport.kept import read_kept

    whole = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    kept = read_kept(artifact)
    assert kept is not None
    both = (whole, sliced_tokenizer(whole, kept))
    return [load_tokenizer(content).encode(text, add_special_tokens=False).ids for content in both]


def test_a_dry_run_tells_the_same_and_writes_nothing(
    model: Path, artifacts: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocab = [part for value in (*VOCAB, f"corpus:{corpus}") for part in ("--vocab", value)]
    given = ("slice", "-m", model, "--rank", 8, "--dim", 16, "-p", "f32", *vocab, "--dry-run", "--out", tmp_path / "o")
    [found] = run_json(capsys, *given)
    manifest: dict[str, Any] = json.loads((artifacts / "gguf" / "mlexport.json").read_text(encoding="utf-8"))
    assert found["vocabulary"] == manifest["vocabulary"]
    assert found["spec"] == manifest["spec"]
    assert not (tmp_path / "o").exists()
    code, text, _ = run(capsys, *given)
    assert code == 0 and "vocabulary    16,384 → " in text and "tokens/char   probe texts" in text


def test_without_the_option_the_manifest_has_none(model: Path, tmp_path: Path) -> None:
    [result] = sliced(model, tmp_path / "o", targets=("hf",), verify="off")
    assert result.artifact.manifest.vocabulary is None
    assert KEPT_FILE not in {entry.path for entry in result.artifact.manifest.files}


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("--vocab", "12"), 2, "--vocab 12 is out of range: this tokenizer has 16384 tokens, and 256 bytes always "),
        (("--vocab", "99999"), 2, "--vocab 99999 is out of range: this tokenizer has 16384 tokens, and 256 bytes alw"),
        (("--vocab", "latin"), 2, "--vocab 'latin' is none of 32000 (a number of tokens), scripts:Latn,Cyrl, corpus:"),
        (("--vocab", "scripts:Cyril"), 2, "--vocab knows no script 'Cyril': did you mean Cyrl?"),
        (("--vocab", "corpus:gone.txt"), 2, "--vocab corpus: gone.txt does not exist"),
        (("--vocab", "2000", "--vocab-coverage", "0.9"), 2, "--vocab-coverage is for --vocab corpus:FILE: name a cor"),
        (("--vocab-coverage", "0.9"), 2, "--vocab-coverage is for --vocab corpus:FILE: name a corpus, or leave the c"),
    ],
)
def test_bad_input_is_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = run(capsys, "slice", "-m", model, *given, "--dry-run")
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {message}") and err.count("\n") == 1


def test_another_kind_of_tokenizer_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_tiny(tmp_path / "model", layers=1, vocabulary=400)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    code, _, err = run(capsys, "slice", "-m", folder, "--vocab", "300", "--dry-run")
    assert code == 3
    assert err == f"error: {path} is a BPE of characters: --vocab cuts byte-level BPE only. Leave it out\n"
