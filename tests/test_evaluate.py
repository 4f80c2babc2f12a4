"""`mlexport eval` as a user runs it: numbers against transformers and trec_eval, the cache, several artifacts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval

import mlexport
from mlexport import process, reference_corpus
from mlexport.checkpoint import open_checkpoint
from mlexport.cli import main
from mlexport.evaluate import cache as kept
from mlexport.evaluate import encode
from mlexport.evaluate.beir import RetrievalSet, read_retrieval_set
from mlexport.evaluate.encode import Encoded, reference_vectors
from mlexport.evaluate.retention import compare, full_scores
from mlexport.request import SliceRequest
from tests.reference import hand_cut
from tests.tiny import make_tiny

pytestmark = pytest.mark.usefixtures("shared_cache")

SUBJECTS = ("soup", "bread", "wine", "Käse", "茶", "кофе", "rice", "salt")
MAX_LENGTH = 12
BUILTIN = Path(mlexport.__file__).parent / "data" / "evaluation"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 documents, 16 queries in two languages, two relevant documents each; some longer than the model's limit."""
    folder = tmp_path_factory.mktemp("data")
    documents = [
        {"_id": f"d{i}", "title": subject, "text": " ".join([f"about {subject} number {i}"] * (1 + i % 5))}
        for i, subject in enumerate(SUBJECTS * 3)
    ]
    queries = [
        {"_id": f"q{i}", "text": f"{word} {subject}", "metadata": {"language": language}}
        for i, (subject, (word, language)) in enumerate(
            (subject, choice) for subject in SUBJECTS for choice in (("about", "en"), ("über", "de"))
        )
    ]
    judged = [f"q{i}\td{i // 2}\t2\nq{i}\td{i // 2 + 8}\t1\n" for i in range(16)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("".join(judged), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def artifacts(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The whole model in f32, and cuts of it."""
    out = tmp_path_factory.mktemp("out")
    cuts = {"whole": ("onnx", 3, 64, "f32"), "cut": ("onnx", 2, 32, "int4"), "gguf": ("gguf", 2, 32, "q8_0")}
    for name, (target, layers, dim, precision) in cuts.items():
        mlexport.slice_model(
            SliceRequest(
                model=str(model),
                layers=layers,
                dim=dim,
                targets=(target,),
                precisions=(precision,),
                out=out / name,
            ),
            verify="off",
        )
    return {name: out / name for name in cuts}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    code, out, _ = run(capsys, "eval", *arguments, "--json")
    assert code == 0
    return json.loads(out)


def texts_of(data: RetrievalSet) -> list[str]:
    """What a sentence-transformers user of the tiny model embeds; its document prompt is empty."""
    return [d.content for d in data.documents] + ["Query: " + q.text for q in data.queries]


def trec_ndcg(data: RetrievalSet, queries: Any, documents: Any) -> float:
    """Mean nDCG@10 of plain cosines by trec_eval."""
    j = data.judgements
    judged: dict[str, dict[str, int]] = {}
    for q, d, g in zip(j.query.tolist(), j.document.tolist(), j.grade.tolist(), strict=True):
        judged.setdefault(str(q), {})[str(d)] = g
    scores = queries.astype(np.float64) @ documents.T.astype(np.float64)
    found = {str(q): {str(d): s for d, s in enumerate(row)} for q, row in enumerate(scores.tolist())}
    measured = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut_10"}).evaluate(found)
    return float(np.mean([row["ndcg_cut_10"] for row in measured.values()]))


def test_the_whole_model_keeps_everything(
    model: Path, data: Path, artifacts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_json(capsys, artifacts["whole"], "--data", data, "--no-cache")
    assert found["full"]["cache"] == "off"
    retention = found["artifacts"][0]["retention"]
    read = read_retrieval_set(data)
    vectors = hand_cut(model, texts_of(read), layers=3, rank=None, dim=64, max_length=MAX_LENGTH)
    expected = trec_ndcg(read, vectors[24:], vectors[:24])
    assert 0.2 < expected < 0.95
    assert retention["full_ndcg"]["value"] == pytest.approx(expected, abs=1e-6)
    assert retention["retained_ndcg"]["value"] == pytest.approx(1, abs=1e-6)
    assert retention["overlap"]["value"] == pytest.approx(1, abs=0.01)
    assert retention["correlation"]["value"] == pytest.approx(1, abs=1e-4)
    assert [(row["language"], row["queries"]) for row in retention["languages"]] == [("de", 8), ("en", 8)]
    assert (found["documents"], found["queries"], found["full"]["query_prompt"]) == (24, 16, "Query: ")


def test_a_cut_is_scored_by_its_own_vectors(
    model: Path, data: Path, artifacts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """An artifact's nDCG is trec_eval's for the vectors that `mlexport embed` gives."""
    names = ("cut", "gguf")
    found = run_json(capsys, *(artifacts[name] for name in names), "--data", data)
    read = read_retrieval_set(data)
    for name, row in zip(names, found["artifacts"], strict=True):
        with mlexport.open_artifact(artifacts[name]) as opened:
            documents = opened.embed([document.content for document in read.documents])
            queries = opened.embed([query.text for query in read.queries], query=True)
        ndcg = row["retention"]["ndcg"]
        assert ndcg["value"] == pytest.approx(trec_ndcg(read, queries, documents), abs=0.02)
        assert ndcg["low"] <= ndcg["value"] <= ndcg["high"]
        kept_share = ndcg["value"] / row["retention"]["full_ndcg"]["value"]
        assert row["retention"]["retained_ndcg"]["value"] == pytest.approx(kept_share)
        assert row["retention"]["overlap"]["value"] < 1
        assert row["bytes"] == sum(
            p.stat().st_size for p in artifacts[name].rglob("*") if p.name != "mlexport.json" and p.is_file()
        )


def test_the_reference_is_transformers_one_text_at_a_time(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batched, and with one layer in memory in several turns: the same vectors as unpadded single texts."""
    read, checkpoint = read_retrieval_set(data), open_checkpoint(str(model))
    expected = hand_cut(model, texts_of(read), layers=3, rank=None, dim=64, max_length=MAX_LENGTH)
    done: list[int] = []
    whole = reference_vectors(checkpoint, read, cache=None, advance=done.append)
    monkeypatch.setattr(encode, "available_bytes", lambda: 1000)
    stream = reference_vectors(checkpoint, read, cache=None, advance=done.append)
    for found in (whole, stream):
        vectors = np.concatenate([found.encoded.documents, found.encoded.queries])
        assert (vectors * expected).sum(axis=1).min() > 0.999999
    assert "one layer in memory at a time" not in whole.how
    assert "one layer in memory at a time" in stream.how
    assert sum(done) == 2 * len(expected)


def test_turns_and_batches_hold_every_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[0] * n for n in (3, 1, 9, 3, 3, 7, 9)]
    monkeypatch.setattr(reference_corpus, "STATES_BYTES", 4 * 2 * 12)
    monkeypatch.setattr(reference_corpus, "BATCH_TOKENS", 6)
    turns = list(reference_corpus.turns(rows, hidden=2))
    assert sorted(i for turn in turns for i in turn) == list(range(7))
    assert all(sum(len(rows[i]) for i in turn) <= 12 for turn in turns)
    batches = list(reference_corpus.same_length(rows, range(7)))
    assert sorted(map(sorted, batches)) == [[0, 3], [1], [2], [4], [5], [6]]


def test_vectors_of_the_full_model_are_kept_between_runs(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, checkpoint, own_cache = read_retrieval_set(data), open_checkpoint(str(model)), tmp_path / "own"

    def again(changed: RetrievalSet = read, **other: Any) -> tuple[str, Encoded]:
        found = reference_vectors(
            other.get("checkpoint", checkpoint), changed, cache=other.get("cache", own_cache), advance=lambda _: None
        )
        return found.cache, found.encoded

    runs: list[int] = []

    def child(_: object, texts: list[str], **others: object) -> Any:
        runs.append(len(texts))
        return np.random.default_rng(len(runs)).normal(size=(len(texts), 64)).astype(np.float32)

    monkeypatch.setattr(encode, "_run_child", child)
    state, first = again()
    entries = sorted(own_cache.iterdir())
    assert (state, runs.pop(), len(entries)) == ("written", 40, 2)
    state, second = again()
    assert (state, runs) == ("read", [])
    assert (second.queries == first.queries).all()
    assert (second.documents == first.documents).all()
    # Another sample of queries finds its documents
    assert again(read.sampled(5, seed=1))[0] == "written"
    assert runs == [5]
    # Damaged, of another version, or of another checkpoint: computed anew
    for path in entries:
        path.write_bytes(path.read_bytes()[:-40])
    assert again()[0] == "written"
    versions = kept.version
    monkeypatch.setattr(kept, "version", lambda name: "9.9" if name == "torch" else versions(name))
    assert again()[0] == "written"
    monkeypatch.setattr(kept, "version", versions)
    other = make_tiny(tmp_path / "other", seed=1, max_length=MAX_LENGTH)
    assert again(checkpoint=open_checkpoint(str(other)))[0] == "written"
    assert runs == [5, 40, 40, 40]
    assert again(cache=None)[0] == "off"
    assert runs[-1] == 40
    assert not [path for path in own_cache.iterdir() if path.suffix != ".npz"]


def test_a_cache_that_cannot_be_written_costs_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    read = read_retrieval_set(data)
    found = reference_vectors(open_checkpoint(str(model)), read, cache=tmp_path / "file" / "x", advance=lambda _: None)
    assert found.cache == "not writable"
    assert found.encoded.queries.shape == (16, 64)


def test_the_cache_stays_below_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LIMIT_BYTES", 4000)
    vectors = np.zeros((8, 32), dtype=np.float32)
    for number in range(5):
        assert kept.write_entry(tmp_path, {"count": 8, "number": number}, vectors)
    assert len(list(tmp_path.iterdir())) == 2
    assert kept.read_entry(tmp_path, {"count": 8, "number": 4}) is not None
    assert kept.read_entry(tmp_path, {"count": 8, "number": 0}) is None


def test_text_for_people(data: Path, artifacts: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(
        capsys, "eval", artifacts["cut"], "--data", data, "--vectors", "f32,int8,binary", "--sample", 12
    )
    assert code == 0
    for words in (
        "24 documents, 12 queries in 2 languages",
        "12 of 16 queries, drawn with seed 0 (--sample)",
        "query prompt 'Query: '",
        "L2-D32 onnx int4_b32",
        "neighbours@10 shared",
        "rank correlation",
        "nDCG@10 kept, by the query's language",
        "binary, hamming",
        "binary, float query",
        "95% intervals: paired bootstrap",
    ):
        assert words in text
    # The tiny model is trained in 8, 16, 32, 64: bytes of a vector at each dim that the artifact has
    rows = [line.split() for line in text.splitlines() if line.strip().startswith(("8 ", "16 ", "32 "))]
    assert [[row[1], row[5], row[9], row[13]] for row in rows] == [
        ["32", "8", "1", "1"],
        ["64", "16", "2", "2"],
        ["128", "32", "4", "4"],
    ]
    code, text, _ = run(capsys, "eval", *[artifacts["cut"]] * 4, "--data", data)
    assert code == 0
    assert "vectors read from the cache" in text
    assert text.count("L2-D32 onnx int4_b32") == 4


def test_every_precision_of_a_folder_is_a_row(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = SliceRequest(
        model=str(model), layers=2, dim=16, targets=("openvino",), precisions=("f32", "int8"), out=tmp_path / "both"
    )
    mlexport.slice_model(request, verify="off")
    found = run_json(capsys, tmp_path / "both", "--data", data)
    assert [row["variant"] for row in found["artifacts"]] == ["f32", "int8_sym"]
    files = {path: path.stat().st_size for path in (tmp_path / "both").rglob("*") if path.is_file()}
    weights = {path: size for path, size in files.items() if path.name.startswith("openvino_model")}
    assert len(weights) == 4
    shared = sum(files.values()) - sum(weights.values()) - files[tmp_path / "both" / "mlexport.json"]
    f32, int8 = (row["bytes"] for row in found["artifacts"])
    assert f32 + int8 == 2 * shared + sum(weights.values())
    assert f32 > 2 * (int8 - shared) + shared
    one = run_json(capsys, tmp_path / "both", "--data", data, "--variant", "int8_sym")
    assert [row["retention"] for row in one["artifacts"]] == [found["artifacts"][1]["retention"]]
    code, _, err = run(capsys, "eval", tmp_path / "both", "--data", data, "--variant", "int3")
    assert (code, err) == (7, "error: this artifact has no variant 'int3': choose from f32, int8_sym\n")


def test_another_full_model(
    model: Path, data: Path, artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_tiny(tmp_path / "other", seed=1, hidden=32, max_length=MAX_LENGTH)
    found = run_json(capsys, artifacts["whole"], "--against", other, "--data", data)
    assert (found["full"]["model"], found["full"]["dim"]) == ("other", 32)
    mlexport.slice_model(SliceRequest(model=str(other), layers=1, out=tmp_path / "cut"), verify="off")
    other.rename(tmp_path / "moved")
    code, _, err = run(capsys, "eval", tmp_path / "cut", "--data", data)
    assert code == 3
    assert err.startswith(f"error: the full model that the manifest names: no checkpoint '{other}'")
    assert err.endswith(". Name it by --against\n")
    code, _, err = run(capsys, "eval", artifacts["whole"], tmp_path / "cut", "--data", data)
    assert code == 2
    assert err.startswith("error: these artifacts are cut from different checkpoints (")
    assert err.count("\n") == 1


def test_vectors_that_are_not_numbers_count_against_the_artifact(model: Path, data: Path) -> None:
    read = read_retrieval_set(data)
    full = reference_vectors(open_checkpoint(str(model)), read, cache=None, advance=lambda _: None).encoded
    base = full_scores(read, full)
    broken = Encoded(documents=full.documents.copy(), queries=full.queries)
    answers = {*read.judgements.document.tolist()}
    broken.documents[sorted(answers)[:3]] = np.nan
    found = compare(read, full, base, broken)
    assert found.not_finite == 3
    assert found.retained_ndcg.value is not None
    assert found.retained_ndcg.value < 0.7
    assert found.overlap.value is not None
    assert found.overlap.value < 0.8


BAD: dict[str, tuple[int, list[str], str]] = {
    "no artifact": (7, ["nowhere"], "nowhere does not exist: expected the folder of an artifact"),
    "vectors": (2, ["ARTIFACT", "--vectors", "int3"], "unknown vector precision 'int3': choose from f32, int8, binary"),
    "sample": (2, ["ARTIFACT", "--data", "DATA", "--sample", "0"], "--sample 0: the least is 1 query"),
    "seed": (2, ["ARTIFACT", "--data", "DATA", "--seed", "-1"], "Invalid value for '--seed'"),
    "split": (2, ["ARTIFACT", "--data", "DATA", "--split", "dev"], "qrels has no dev.tsv: choose --split from test"),
    "data": (2, ["ARTIFACT", "--data", "gone"], "--data gone does not exist: expected 'builtin', or a folder with"),
    "against": (3, ["ARTIFACT", "--data", "DATA", "--against", "gone"], "no checkpoint 'gone'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(
    data: Path, artifacts: dict[str, Path], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, arguments, message = BAD[name]
    named = {"ARTIFACT": str(artifacts["cut"]), "DATA": str(data)}
    found, out, err = run(capsys, "eval", *(named.get(argument, argument) for argument in arguments))
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("cold_children")
def test_a_reference_that_fails_is_one_line(
    model: Path,
    data: Path,
    artifacts: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process.sys, "executable", shutil.which("false"))
    code, out, err = run(capsys, "eval", artifacts["cut"], "--data", data, "--no-cache")
    assert (code, out) == (9, "")
    assert err == "error: the transformers reference stopped with exit code 1: nothing on its standard error\n"


def test_the_demo_on_some_of_its_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """200 documents of the built-in set, all their queries or a sample: a cut keeps most of the full model."""
    whole = read_retrieval_set("builtin")
    some = {document.id for document in whole.documents[::7][:200]}
    folder = tmp_path / "data"
    shutil.copytree(BUILTIN, folder)
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "corpus.jsonl").write_text("\n".join(x for x in lines if json.loads(x)["_id"] in some), encoding="utf-8")
    judged = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    (folder / "qrels" / "test.tsv").write_text(
        "\n".join(x for x in judged if x.split("\t")[1] in some), encoding="utf-8"
    )
    request = SliceRequest(layers=8, dim=128, targets=("onnx",), out=tmp_path / "cut")
    mlexport.slice_model(request, verify="off")
    found = run_json(capsys, tmp_path / "cut", "--data", folder, "--sample", 200, "--vectors", "f32,int8,binary")
    retention = found["artifacts"][0]["retention"]
    # Fewer documents, fewer wrong ones: better than evaluation.json's .743 on all of them
    assert 0.8 < retention["full_ndcg"]["value"] < 0.95
    assert 0.97 < retention["retained_ndcg"]["value"] < 1.03
    assert retention["overlap"]["value"] > 0.85
    assert retention["correlation"]["value"] > 0.98
    stored = {(row["dim"], row["precision"], row["comparison"]): row for row in retention["stored"]}
    assert stored[128, "f32", "cosine"]["ndcg"] == retention["ndcg"]
    # A quarter of the bytes for nothing; an eighth of those by signs alone is no longer for nothing
    assert stored[128, "int8", "cosine"]["retained"]["value"] > retention["retained_ndcg"]["value"] - 0.01
    by_sign, by_half = (stored[128, "binary", name]["retained"]["value"] for name in ("hamming", "float query"))
    assert 0.5 < by_sign < by_half < retention["retained_ndcg"]["value"] - 0.02
