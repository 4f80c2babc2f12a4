"""`mlexport eval --mteb` on local tasks: the same scores as mteb gives to sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

import mteb
import pytest
import scipy.stats
from sentence_transformers import SentenceTransformer

import mlexport
from mlexport.cli import main
from mlexport.request import SliceRequest
from tests.mteb_tasks import PAIRS, LocalRetrieval
from tests.tiny import make_tiny

RETRIEVAL, STS = "tests.mteb_tasks:LocalRetrieval", "tests.mteb_tasks:LocalSTS"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "whole"
    mlexport.slice_model(SliceRequest(model=str(model), targets=("onnx",), precisions=("f32",), out=out), verify="off")
    return out


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["eval", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_scores_are_those_of_sentence_transformers(
    model: Path, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, artifact, "--mteb", RETRIEVAL, "--mteb", STS, "--against", model, "--json")
    assert code == 0
    found = json.loads(out)
    scores = {(row["label"], row["task"]): row for row in found["scores"]}
    assert set(scores) == {
        (label, task) for label in ("model", f"{artifact} f32") for task in ("LocalRetrieval", "LocalSTS")
    }
    reference = SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": "float32"})
    [expected] = mteb.evaluate(reference, LocalRetrieval(), cache=None, show_progress_bar=False).task_results
    ours = scores[f"{artifact} f32", "LocalRetrieval"]
    assert 0.1 < expected.get_score() < 0.99
    assert ours["score"] == pytest.approx(expected.get_score(), abs=1e-4)
    assert (ours["kind"], ours["measure"], ours["splits"]) == ("Retrieval", "ndcg_at_10", {"test": ours["score"]})
    # Without the query prompt it is another score: mteb's prompt type reached the encoder
    bare = SentenceTransformer(str(model), device="cpu", prompts={"query": ""}, model_kwargs={"dtype": "float32"})
    [other] = mteb.evaluate(bare, LocalRetrieval(), cache=None, show_progress_bar=False).task_results
    assert ours["score"] != pytest.approx(other.get_score(), abs=1e-3)
    # A task without queries: no prompt
    left, right = (reference.encode([pair[side] for pair in PAIRS], prompt="") for side in (0, 1))
    rho = scipy.stats.spearmanr((left * right).sum(axis=1), [pair[2] for pair in PAIRS]).statistic
    assert scores[f"{artifact} f32", "LocalSTS"]["score"] == pytest.approx(rho, abs=1e-6)
    assert scores["model", "LocalSTS"]["score"] == pytest.approx(rho, abs=1e-6)


def test_text_for_people(model: Path, artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, artifact, "--mteb", RETRIEVAL, "--against", model)
    assert code == 0
    assert f"mteb {mteb.__version__}: main score, share of the full model's" in out
    assert "LocalRetrieval  ndcg_at_10" in out
    assert "100.0%" in out


BAD = {
    "unknown": (2, ["--mteb", "NFCorpos"], "unknown mteb task: 'NFCorpos' not found. Did you mean: 'NFCorpus'?"),
    "module": (2, ["--mteb", "nowhere:Task"], "--mteb nowhere:Task: No module named 'nowhere'"),
    "class": (2, ["--mteb", "tests.mteb_tasks:Task"], "--mteb tests.mteb_tasks:Task: module 'tests.mteb_tasks' has no"),
    "no task": (2, ["--mteb", "tests.mteb_tasks:WORDS"], "--mteb tests.mteb_tasks:WORDS is not a task of mteb"),
    "data": (2, ["--mteb", RETRIEVAL, "--sample", "3"], "--sample does not go with --mteb: a task brings its own data"),
    "broken": (
        9,
        ["--mteb", "tests.mteb_tasks:Broken"],
        "mteb task LocalRetrieval failed on {0} f32: no route to the hub",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(artifact: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, arguments, message = BAD[name]
    found, out, err = run(capsys, artifact, *arguments)
    assert (found, out) == (code, "")
    assert message.format(artifact) in err
    assert err.startswith("error: ")


def test_without_mteb_the_pip_line_is_named(
    artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlexport.benchmark.find_spec", lambda name: None)
    code, _, err = run(capsys, artifact, "--mteb", RETRIEVAL)
    assert (code, err) == (6, 'error: --mteb needs mteb, which is not installed: pip install "mlexport[mteb]"\n')
