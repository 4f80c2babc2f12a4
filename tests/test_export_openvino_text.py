"""An IR that takes strings: token ids of `tokenizers` and of llama.cpp, vectors of transformers."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_tokenizers  # noqa: F401 - every Core made from here on knows its operators
import pytest
from tokenizers import Tokenizer

from mlexport.checkpoint import open_checkpoint
from mlexport.errors import ExportError
from mlexport.export.openvino_text import tokenizer_model
from tests import written
from tests.qwen2 import llama_cpps_vectors, make_qwen2
from tests.reference import hand_cut
from tests.test_cli import run
from tests.test_export_onnx_text import MAX_LENGTH, SPECIAL_TEXTS, TEXTS
from tests.tiny import make_tiny

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def sliced(model: Path, out: Path) -> ov.CompiledModel:
    written.sliced(model, out, verify="off", layers=2, dim=32, targets=["openvino"], precisions=["f32"], text_in=True)
    return ov.Core().compile_model(out / "openvino" / "openvino_model_text.xml", "CPU", EXACT)


def ids_of(compiled: ov.CompiledModel, text: str) -> list[int]:
    found = compiled({"text": [text]}) if "text" in compiled.input(0).get_names() else compiled([text])
    return found["input_ids"][0][found["attention_mask"][0] == 1].tolist()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=MAX_LENGTH)


@pytest.mark.parametrize("appended", [True, False])
def test_strings_give_transformers_vectors(model: Path, tmp_path: Path, appended: bool) -> None:
    """Alone and together; with an end token that the tokenizer appends, and one that it leaves out."""
    checkpoint = model if appended else make_tiny(tmp_path / "bare", append_eos=False, max_length=MAX_LENGTH)
    compiled = sliced(checkpoint, tmp_path / "o")
    assert [sorted(value.get_names()) for value in compiled.inputs] == [["text"]]
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32, max_length=MAX_LENGTH)
    for batch in (1, 7, len(TEXTS)):
        parts = [TEXTS[start : start + batch] for start in range(0, len(TEXTS), batch)]
        found = np.concatenate([compiled({"text": part})["sentence_embedding"].copy() for part in parts])
        assert (found * expected).sum(axis=1).min() >= 0.99999


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory, qwen2_files: Path) -> Path:
    return make_qwen2(tmp_path_factory.mktemp("qwen2") / "model", qwen2_files)


def test_ids_of_qwen2_are_llama_cpps_and_tokenizers_on_composed_text(qwen2: Path) -> None:
    tokenizer = json.loads((qwen2 / "tokenizer.json").read_text(encoding="utf-8"))
    compiled = ov.Core().compile_model(tokenizer_model(tokenizer, open_checkpoint(str(qwen2)).text, 1024), "CPU")
    for text, wanted in llama_cpps_vectors():
        assert ids_of(compiled, text)[:-1] == wanted, repr(text)
    original = Tokenizer.from_file(str(qwen2 / "tokenizer.json"))
    original.no_truncation()
    decomposed = [
        unicodedata.normalize("NFD", chr(c))
        for c in range(1, sys.maxunicode + 1)
        if not 0xD800 <= c <= 0xDFFF and unicodedata.normalize("NFD", chr(c)) != chr(c)
    ]
    chosen = random.Random(0)
    words = ["".join(chosen.choice([*decomposed, "a", " "]) for _ in range(12)) for _ in range(200)]
    for text in [*SPECIAL_TEXTS, *words]:
        # This tokenizer leaves the end token out
        assert ids_of(compiled, text)[:-1] == original.encode(text).ids, repr(text)


@pytest.mark.parametrize(
    ("normaliser", "message"),
    [
        # İ becomes two characters in lower case
        ("Lowercase", "--text-in is refused: of the probe text 'tr' (\"İstanbul"),
        ("Nmt", "--text-in is refused: openvino-tokenizers cannot convert this one: "),
    ],
)
def test_a_tokenizer_that_the_operators_get_wrong_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], normaliser: str, message: str
) -> None:
    other = make_tiny(tmp_path / "model")
    path = other / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": normaliser}]}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    arguments = ("slice", "-m", other, "--layers", 1, "-t", "openvino", "--out", tmp_path / "o", "--verify", "off")
    code, _, err = run(capsys, *arguments, "--text-in")
    assert code == ExportError.exit_code, err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "o").exists()
