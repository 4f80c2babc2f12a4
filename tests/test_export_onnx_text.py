"""An ONNX file that takes strings: token ids of `tokenizers` and of llama.cpp, vectors of transformers."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnxruntime_extensions import get_library_path

import mlexport
from mlexport.errors import ExportError, UsageError
from mlexport.probes import PROBES, over_long
from tests import written
from tests.qwen2 import llama_cpps_vectors, make_qwen2
from tests.reference import hand_cut
from tests.test_cli import run
from tests.tiny import SPECIAL, make_tiny

MAX_LENGTH = 64
SPECIAL_TEXTS = ["".join(SPECIAL), f"a {SPECIAL[1]}user\nb{SPECIAL[2]} {SPECIAL[0]}", SPECIAL[0], f" {SPECIAL[2]} "]
TEXTS = [probe.text for probe in PROBES] + [over_long(MAX_LENGTH).text, *SPECIAL_TEXTS]


def session(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def strings(texts: list[str]) -> dict[str, np.ndarray]:
    return {"text": np.array(texts, dtype=object)}


def sliced(model: Path, out: Path, precision: str = "f32") -> Path:
    written.sliced(model, out, verify="off", layers=2, dim=32, targets=["onnx"], precisions=[precision], text_in=True)
    return out / "onnx"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def files(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sliced(model, tmp_path_factory.mktemp("onnx") / "o")


@pytest.mark.parametrize("batch", [1, 7, len(TEXTS)])
def test_strings_give_transformers_vectors(model: Path, files: Path, batch: int) -> None:
    inside = session(files / "model_text.onnx")
    assert [(value.name, value.type, value.shape) for value in inside.get_inputs()] == [
        ("text", "tensor(string)", ["batch"])
    ]
    parts = [TEXTS[start : start + batch] for start in range(0, len(TEXTS), batch)]
    found = np.concatenate([inside.run(["sentence_embedding"], strings(part))[0] for part in parts])
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32, max_length=MAX_LENGTH)
    assert (found * expected).sum(axis=1).min() >= 0.99999


@pytest.mark.parametrize(("precision", "name"), [("int4", "model_q4"), ("int8", "model_quantized")])
def test_other_precisions_are_the_file_that_takes_ids(model: Path, tmp_path: Path, precision: str, name: str) -> None:
    files = sliced(model, tmp_path / "o", precision)
    embedder = mlexport.open_artifact(tmp_path / "o")
    with embedder:
        expected = np.concatenate([embedder.embed([text]) for text in TEXTS])
    inside = session(files / f"{name}_text.onnx")
    found = np.concatenate([inside.run(None, strings([text]))[0] for text in TEXTS])
    assert (found * expected).sum(axis=1).min() >= 0.99999


def test_an_end_token_that_the_checkpoint_leaves_out_is_there(model: Path, tmp_path: Path) -> None:
    files = sliced(make_tiny(tmp_path / "bare", append_eos=False), tmp_path / "o")
    found = session(files / "model_text.onnx").run(None, strings(TEXTS))[0]
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32, max_length=MAX_LENGTH)
    assert (found * expected).sum(axis=1).min() >= 0.99999


def test_ids_are_those_of_llama_cpps_vectors_of_qwen2(tmp_path: Path, qwen2_files: Path) -> None:
    from mlexport.checkpoint import open_checkpoint
    from mlexport.export.onnx import text as exporter

    folder = make_qwen2(tmp_path / "model", qwen2_files)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    exporter.write_tokenizer(tokenizer, open_checkpoint(str(folder)).text, 1024, tmp_path / "t.onnx")
    texts, expected = zip(*llama_cpps_vectors(), strict=True)
    ids, mask = session(tmp_path / "t.onnx").run(["ids", "mask"], strings(list(texts)))
    for text, row, kept, wanted in zip(texts, ids, mask, expected, strict=True):
        assert row[kept == 1].tolist()[:-1] == wanted, repr(text)


def test_strings_are_composed_as_python_composes_them(tmp_path: Path) -> None:
    import onnx_ir as ir

    from mlexport.export.onnx import nfc
    from mlexport.export.onnx.builder import Builder
    from mlexport.export.onnx.stream import write_model

    b = Builder()
    text = ir.val("text", ir.DataType.STRING, ["batch"])
    out = nfc.compose(b, text)
    out.name, out.dtype, out.shape = "out", ir.DataType.STRING, ir.Shape(["batch"])
    write_model(b.model([text], [out], {}), b.weights, tmp_path / "nfc.onnx", lambda _: None)
    compose = session(tmp_path / "nfc.onnx")
    # U+0000 ends a string for the operators, and the two noncharacters are refused by them
    every = [chr(c) for c in range(1, sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF and c not in (0xFFFE, 0xFFFF)]
    touched = [c for c in every if unicodedata.combining(c) or unicodedata.normalize("NFD", c) != c]
    marks = [chr(c) for c in range(0x300, 0x370)]
    letters = [c for c in every[:0x500] if c.isalpha()]
    jamo = [chr(c) for c in (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A7, 0x11C3))]
    seconds = sorted({unicodedata.normalize("NFD", c)[-1] for c in touched})
    pools = [every, touched, letters + 3 * marks, marks, [*jamo, "가", "각"], seconds + letters]
    chosen = random.Random(0)
    texts = [f"a{c}b" for c in touched]
    for _ in range(6000):
        pool = chosen.choice(pools)
        texts.append("".join(chosen.choice(chosen.choice((pool, pool, letters + marks))) for _ in range(12)))
    found = compose.run(None, strings(texts))[0].tolist()
    wrong = [(t, f) for t, f in zip(texts, found, strict=True) if unicodedata.normalize("NFC", t) != f]
    assert wrong[:3] == []


def test_a_tokenizer_that_the_operator_gets_wrong_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_tiny(tmp_path / "model")
    path = other / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    arguments = ("slice", "-m", other, "--layers", 1, "-t", "onnx", "--out", tmp_path / "o", "--verify", "off")
    code, _, err = run(capsys, *arguments, "--text-in")
    assert code == ExportError.exit_code
    assert err.startswith("error: --text-in is refused: of the probe text 'en' ('The quick reader")
    assert err.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_text_in_is_for_graphs_alone(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--text-in is for targets onnx and openvino, not for gguf"):
        written.sliced(model, tmp_path / "o", targets=("gguf", "onnx"), text_in=True)
