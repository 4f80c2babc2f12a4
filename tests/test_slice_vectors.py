"""`slice --vectors` and `slice --eval`: ranges in manifest and graph, codes in files, retention beside size."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

import mlexport
from mlexport.cli import main
from mlexport.evaluate import beir
from mlexport.evaluate.stored import calibrate_range, to_int8
from mlexport.request import SliceRequest
from mlexport.search import read_documents
from tests.tiny import make_tiny

OUTPUTS = {"int8": "sentence_embedding_int8", "binary": "sentence_embedding_ubinary"}
TEXTS = ["edit photos", "ゲーム", "", "a longer text about music players and their playlists", "веб-браузер"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module", autouse=True)
def few_documents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """150 documents in the built-in set's place, and their queries."""
    folder = tmp_path_factory.mktemp("builtin")
    shutil.copytree(beir._BUILTIN_FOLDER, folder, dirs_exist_ok=True)
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:150]
    (folder / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    known = {json.loads(line)["_id"] for line in lines}
    judged = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    kept = "\n".join(line for line in judged if line.split("\t")[1] in known)
    (folder / "qrels" / "test.tsv").write_text(kept, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beir, "_BUILTIN_FOLDER", folder)
        yield folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def make(model: Path, out: Path, **options: Any) -> mlexport.Artifact:
    """One artifact, not verified."""
    request = {"dim": 16, "layers": 2, "targets": ("onnx",), "precisions": ("f32",)} | options
    [result] = mlexport.slice_model(
        SliceRequest(model=str(model), out=out, allow_untrained=True, **request), verify="off"
    )
    return result.artifact


def graph_outputs(artifact: mlexport.Artifact) -> dict[str, Any]:
    """Outputs of an artifact's graph for TEXTS one at a time, as rows, by the runtime itself."""
    path = artifact.folder / artifact.manifest.variants[0].model_file
    from mlexport.runtime.tokens import TextEncoder

    rows = TextEncoder(artifact.folder, artifact.text).ids(TEXTS)
    found: dict[str, list[Any]] = {}
    if artifact.manifest.target == "onnx":
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names, fixed = [output.name for output in session.get_outputs()], session.get_inputs()[0].shape
    else:
        compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        names, fixed = [output.any_name for output in compiled.outputs], [None, None]
    for row in rows:
        width = fixed[1] if isinstance(fixed[1], int) else len(row)
        ids = np.array([[*row, *[artifact.text.pad_id] * (width - len(row))]])
        feed = {"input_ids": ids, "attention_mask": np.array([[1] * len(row) + [0] * (width - len(row))])}
        answers = session.run(names, feed) if artifact.manifest.target == "onnx" else compiled(feed).to_tuple()
        for name, value in zip(names, answers, strict=True):
            found.setdefault(name, []).append(value[0])
    return {name: np.stack(v) for name, v in found.items() if name != "last_hidden_state"}


# A dim that fills no byte, a fixed shape, and both graph formats
CASES: list[dict[str, Any]] = [
    {},
    {"dim": 13},
    {"precisions": ("int8",)},
    {"targets": ("openvino",)},
    {"static": "1x32"},
]


@pytest.mark.parametrize("precision", OUTPUTS)
@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(map(str, options.values())) or "onnx")
def test_a_graph_gives_stored_vectors(model: Path, tmp_path: Path, precision: str, options: dict[str, Any]) -> None:
    artifact = make(model, tmp_path / "out", vectors=precision, **options)
    stored, outputs = artifact.manifest.vectors, graph_outputs(artifact)
    assert set(outputs) == {"sentence_embedding", OUTPUTS[precision]}
    vectors, codes = outputs["sentence_embedding"], outputs[OUTPUTS[precision]]
    if precision == "binary":
        assert (codes == quantize_embeddings(vectors, precision="ubinary")).all()
        assert (stored.range, codes.dtype) == (None, np.uint8)
    else:
        assert stored.range is not None
        scale = stored.range / 127
        assert np.abs(codes * scale - np.clip(vectors, -stored.range, stored.range)).max() <= scale / 2 * 1.0001
        assert (codes == to_int8(vectors, stored.range)).all()
        assert codes.dtype == np.int8
        assert stored.calibrated == f"150 built-in documents, {artifact.manifest.variants[0].precision}"
        # Not the largest number there is, and no number of ordinary text far outside
        assert 0.2 < stored.range < 1
        assert np.abs(codes).max() > 60


def test_verify_compares_the_graphs_codes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make(model, tmp_path / "out", vectors="int8", targets=("openvino",), precisions=("int8",))
    code, text, _ = run(capsys, "verify", artifact.folder)
    assert (code, "passed" in text) == (0, True)
    # Another range in the manifest than in the graph
    path = artifact.folder / "mlexport.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["vectors"]["range"] *= 1.1
    path.write_text(json.dumps(manifest), encoding="utf-8")
    code, _, err = run(capsys, "verify", artifact.folder)
    assert code == 5
    assert "output sentence_embedding_int8 differs from the float32 vectors in " in err
    # A graph that packs its signs the wrong way round is not kept
    monkeypatch.setattr("mlexport.export.onnx.stored._BIT_VALUES", [1, 2, 4, 8, 16, 32, 64, 128])
    cut = ("slice", "-m", model, "--layers", 1, "-t", "onnx", "-p", "f32", "--vectors", "binary")
    code, _, err = run(capsys, *cut, "--out", tmp_path / "wrong")
    assert code == 5
    assert "output sentence_embedding_ubinary differs from the float32 vectors in " in err
    assert not (tmp_path / "wrong").exists()


def test_nothing_is_left_of_the_calibration(model: Path, tmp_path: Path) -> None:
    artifact = make(model, tmp_path / "out", vectors="int8", precisions=("f32", "int8"), targets=("openvino",))
    names = {path.name for path in artifact.folder.iterdir()}
    assert not [name for name in names if name.startswith("calibrate")]
    assert {entry.path for entry in artifact.manifest.files} == {
        path.relative_to(artifact.folder).as_posix()
        for path in artifact.folder.rglob("*")
        if path.is_file() and path.name != "mlexport.json"
    }
    # One range for all precisions of a folder: their stored vectors fit together
    codes = []
    for variant in ("f32", "int8_sym"):
        with mlexport.open_artifact(artifact.folder, variant) as opened:
            codes.append(opened.store(opened.embed(TEXTS)).astype(int))
    first, second = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in codes)
    assert (first * second).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("target", ["gguf", "hf", "onnx"])
def test_embed_writes_what_the_artifact_was_made_for(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    artifact = make(model, tmp_path / "out", vectors="int8", targets=(target,))
    source, out = tmp_path / "texts.txt", tmp_path / "v.npy"
    source.write_text("\n".join(TEXTS), encoding="utf-8")
    found = {}
    for precision in (None, "f32", "int8", "binary"):
        chosen = [] if precision is None else ["--vectors", precision]
        code, _, err = run(capsys, "embed", artifact.folder, "--file", source, "--out", out, "--force", *chosen)
        found[precision] = np.load(out)
        assert (code, err) == (0, f"{out}: 5 vectors of 16 numbers, {found[precision].dtype}\n")
    assert artifact.manifest.vectors.range is not None
    assert (found[None].dtype, found[None].shape) == (np.int8, (5, 16))
    assert (found[None] == found["int8"]).all()
    assert (found["int8"] == to_int8(found["f32"], artifact.manifest.vectors.range)).all()
    assert (found["binary"] == np.packbits(found["f32"] > 0, axis=1)).all()
    assert (found["binary"].dtype, found["binary"].shape) == (np.uint8, (5, 2))
    code, text, _ = run(capsys, "embed", artifact.folder, *TEXTS[:2], "--query")
    assert code == 0
    assert all(isinstance(n, int) for line in text.splitlines() for n in json.loads(line)["embedding"])


def test_the_range_fits_the_texts_it_was_calibrated_on(model: Path, tmp_path: Path, few_documents: Path) -> None:
    artifact = make(model, tmp_path / "out", vectors="int8")
    with mlexport.open_artifact(artifact.folder) as opened:
        vectors = opened.embed([document.content for document in read_documents(few_documents / "corpus.jsonl")])
    end = artifact.manifest.vectors.range
    assert end is not None
    losses = {}
    for share in (0.7, 0.85, 1.0, 1.15, 1.4):
        codes = np.clip(np.rint(vectors * (127 / (share * end))), -127, 127)
        losses[share] = float(np.square(codes * (share * end / 127) - vectors).sum())
    assert min(losses, key=lambda share: losses[share]) in (0.85, 1.0, 1.15)
    assert losses[1.0] < 0.75 * min(losses[0.7], losses[1.4])


def test_slice_eval_puts_retention_beside_size_and_cosine(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLEXPORT_CACHE", str(tmp_path / "cache"))
    cut = ("slice", "-m", model, "--layers", 2, "--dim", 16, "-t", "onnx", "-p", "f32,int8_b32")
    out = tmp_path / "out"
    code, text, _ = run(capsys, *cut, "--vectors", "int8", "--out", out, "--eval", "--sample", 40)
    assert code == 0
    for words in ("total", "cosine", "passed", "vectors       int8, range ±", "graph output sentence_embedding_int8"):
        assert words in text
    for words in (
        "kept          f32: nDCG@10 ",
        "kept          int8_b32: nDCG@10 ",
        "stored as int8, cosine: nDCG@10 ",
    ):
        assert words in text
    assert "of model, transformers " in text
    assert "builtin, 150 documents, 40 queries; 95% intervals in brackets" in text
    manifest = mlexport.read_artifact(out).manifest
    code, text, _ = run(capsys, "eval", out, "--sample", 40, "--json")
    assert code == 0
    for variant, row in zip(manifest.variants, json.loads(text)["artifacts"], strict=True):
        kept = variant.retention
        assert kept is not None
        assert kept.ndcg.value == pytest.approx(row["retention"]["ndcg"]["value"], abs=1e-9)
        assert kept.overlap.value == pytest.approx(row["retention"]["overlap"]["value"], abs=1e-9)
        assert [one.range for one in kept.stored] == [manifest.vectors.range]
        assert row["retention"]["stored"][0]["range"] == manifest.vectors.range
    assert kept.reference.startswith("model, transformers ")
    assert kept.notes[-1].endswith(" queries, drawn with seed 0 (--sample)")
    code, text, _ = run(capsys, "inspect", out)
    assert "neighbours@10" in text


def test_a_vocabulary_slice_is_calibrated_and_measured_by_its_own_ids(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end token has another id: with the checkpoint's, no vector would be the one that `eval` measures later."""
    monkeypatch.setenv("MLEXPORT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    cut = ("slice", "-m", model, "--vocab", "9000", "-t", "onnx", "-p", "f32", "--vectors", "int8", "--verify", "off")
    code, _, _ = run(capsys, *cut, "--out", out, "--eval", "--sample", 40)
    assert code == 0
    manifest = mlexport.read_artifact(out).manifest
    kept = manifest.variants[0].retention
    assert kept is not None
    code, text, _ = run(capsys, "eval", out, "--sample", 40, "--json")
    assert code == 0
    [row] = json.loads(text)["artifacts"]
    assert kept.ndcg.value == pytest.approx(row["retention"]["ndcg"]["value"], abs=1e-9)
    assert kept.overlap.value == pytest.approx(row["retention"]["overlap"]["value"], abs=1e-9)
    with mlexport.open_artifact(out) as opened:
        vectors = opened.embed([document.content for document in read_documents(beir._BUILTIN_FOLDER / "corpus.jsonl")])
    assert manifest.vectors.range == pytest.approx(calibrate_range(vectors), rel=1e-6)


BAD = {
    "precision": (
        ["slice", "-m", "MODEL", "--vectors", "int4"],
        "unknown vector precision 'int4': choose from f32, int8, binary",
    ),
    "sample": (
        ["slice", "-m", "MODEL", "--sample", "5"],
        "--sample goes with --eval: it says how many queries that asks",
    ),
    "no range": (
        ["embed", "PLAIN", "text", "--vectors", "int8"],
        "has no int8 range: make it with `mlexport slice --vectors int8`, or store f32 or binary",
    ),
    "embed": (["embed", "PLAIN", "text", "--vectors", "int2"], "unknown vector precision 'int2'"),
}


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(model, tmp_path_factory.mktemp("plain") / "out").folder


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(
    model: Path, plain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(plain.parent)
    arguments, message = BAD[name]
    named = {"MODEL": str(model), "PLAIN": str(plain)}
    code, out, err = run(capsys, *(named.get(argument, argument) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in plain.parent.iterdir()] == [plain.name]


def test_without_vectors_nothing_changes(plain: Path) -> None:
    artifact = mlexport.read_artifact(plain)
    assert (artifact.manifest.vectors.precision, artifact.manifest.vectors.range) == ("f32", None)
    assert set(graph_outputs(artifact)) == {"sentence_embedding"}
