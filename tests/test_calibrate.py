"""Calibration end to end on the demo's first layers: what it repairs, what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModel

from mlexport import pipeline
from mlexport.artifact import Artifact, Variant, sha256
from mlexport.calibrate.layers import Layers, batches
from mlexport.calibrate.run import measure_losses
from mlexport.calibrate.texts import MOST_TEXTS, CalibrationTexts, read_calibration
from mlexport.checkpoint import open_checkpoint
from mlexport.cli import main
from mlexport.errors import CalibrationError, UsageError
from mlexport.model import TABLE
from mlexport.probes import PROBES
from mlexport.quantize.plan import plan_tensors
from mlexport.request import SliceRequest, check
from mlexport.results import SlicePlan
from mlexport.runtime.tokens import TextEncoder
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.planted import COLUMNS, make_planted
from tests.tiny import DEMO_FILES

LAYERS = 1


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth text of the built-in set, as a user's file."""
    path = tmp_path_factory.mktemp("texts") / "mine.txt"
    lines = [text.replace("\n", " ") for text in read_calibration("builtin").texts[::4]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_planted(tmp_path_factory.mktemp("planted") / "model")


def make(out: Path, texts: Path | None, model: str = "demo", **options: object) -> Artifact:
    given = {"layers": LAYERS, "precisions": ["int4"], "calibrate": None if texts is None else str(texts)}
    request = SliceRequest(model=model, out=out, **(given | options))
    return pipeline.slice_model(request)[0].artifact


def loss(variant: Variant) -> float:
    assert variant.verification.mean_cosine is not None
    return 1 - variant.verification.mean_cosine


@pytest.mark.parametrize("target", ["gguf", "onnx", "openvino"])
def test_calibrated_int4_loses_at_most_half_of_plain_int4(tmp_path: Path, texts: Path, target: str) -> None:
    plain = make(tmp_path / "plain", None, targets=[target]).manifest.variants[0]
    better = make(tmp_path / "better", texts, targets=[target]).manifest.variants[0]
    assert loss(better) <= loss(plain) / 2
    assert loss(better) <= 0.015
    assert sum(row.bytes for row in better.plan) == sum(row.bytes for row in plain.plan)
    facts = better.calibration
    assert facts is not None
    used = read_calibration(str(texts))
    assert (facts.name, facts.texts, facts.sha256) == ("mine.txt", len(used.texts), used.sha256)
    assert any(row.reason.endswith("rounded on calibration text") for row in better.plan)


@pytest.mark.parametrize("target", ["gguf", "onnx", "openvino"])
def test_int8_is_above_999_in_every_target(tmp_path: Path, target: str) -> None:
    assert loss(make(tmp_path / "a", None, targets=[target], precisions=["int8"]).manifest.variants[0]) <= 0.001


def test_planted_outliers_break_plain_int4_and_are_repaired(tmp_path: Path, texts: Path, planted: Path) -> None:
    options = {"model": str(planted), "targets": ["onnx"]}
    with pytest.raises(Exception, match="verify failed"):
        make(tmp_path / "plain", None, **options)
    better = make(tmp_path / "better", texts, **options).manifest.variants[0]
    assert loss(better) <= 0.01
    assert better.calibration is not None
    found = {one.tensor: one for one in better.calibration.outliers if one.kind == "weights"}
    assert set(found["layers.0.mlp.up_proj.weight"].columns) == set(COLUMNS)
    norms = {row.name: row.reason for row in better.plan if row.name.endswith("layernorm.weight")}
    assert all("took up the sizes of the columns" in reason for reason in norms.values())


def test_the_same_texts_give_the_same_bytes(tmp_path: Path, texts: Path) -> None:
    hashes = []
    for name in ("a", "b"):
        artifact = make(tmp_path / name, texts)
        hashes.append(sha256(artifact.folder / artifact.manifest.variants[0].model_file))
    assert hashes[0] == hashes[1]


def test_auto_meets_its_bound_in_fewer_bytes_than_any_uniform_precision(tmp_path: Path, texts: Path) -> None:
    options = {"targets": ["onnx"]}
    auto = make(tmp_path / "auto", texts, precisions=["auto"], min_cosine=0.99, **options)
    variant = auto.manifest.variants[0]
    assert variant.auto is not None
    assert loss(variant) <= 0.01
    assert variant.auto.verified_loss == pytest.approx(loss(variant), abs=1e-6)
    assert variant.auto.predicted_loss == pytest.approx(loss(variant), abs=0.01)
    assert {row.scheme for row in variant.plan} - {"f32"} > {"int8"} or len({row.scheme for row in variant.plan}) > 2
    uniform = make(tmp_path / "uniform", texts, precisions=["int4_b128", "int4_b64", "int4_b32", "int8"], **options)
    met = [v for v in uniform.manifest.variants if loss(v) <= 0.01]
    assert met
    assert sum(row.bytes for row in variant.plan) < min(sum(row.bytes for row in v.plan) for v in met)
    pipeline.verify_artifact(auto.folder)


@pytest.fixture(scope="module")
def sized(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[SlicePlan]:
    out = tmp_path_factory.mktemp("sized") / "artifact"
    options = {"precisions": ["auto"], "max_size": "4MB", "calibrate": str(texts)}
    return pipeline.plan_slice(SliceRequest(layers=LAYERS, out=out, **options))


def test_auto_keeps_a_size(sized: list[SlicePlan]) -> None:
    artifact = pipeline.write_slices(sized)[0].artifact
    variant = artifact.manifest.variants[0]
    size = (artifact.folder / variant.model_file).stat().st_size
    assert 3_600_000 < size <= 4_000_000


def test_auto_without_verification_is_refused(sized: list[SlicePlan]) -> None:
    with pytest.raises(UsageError, match="--precision auto is chosen by its verification"):
        pipeline.write_slices(sized, verify="off")


def test_the_layers_are_transformers_own_model() -> None:
    checkpoint = open_checkpoint("demo")
    sub = cut(checkpoint, SubModelSpec.parse("L3-D256"), allow_untrained=True)
    ids = TextEncoder(checkpoint.folder, checkpoint.text).ids([probe.text for probe in PROBES[:5]])
    layers = Layers(sub)
    table = torch.from_numpy(sub.tensors[TABLE].read())
    model = AutoModel.from_pretrained(DEMO_FILES, dtype=torch.float32).eval()
    with torch.no_grad():
        [batch] = batches(ids, checkpoint.text.pad_id)
        state = table[batch.ids]
        for number in range(3):
            state = layers.run(layers.layer(number), state)
        for line, place in enumerate(batch.order):
            expected = model(torch.tensor([ids[place]]), output_hidden_states=True).hidden_states[3][0]
            torch.testing.assert_close(state[line, : len(ids[place])], expected, rtol=1e-3, atol=1e-3)


def test_a_measured_loss_is_that_of_the_model_with_that_tensor_rounded(tmp_path: Path) -> None:
    """The table in q8_0, rounded by gguf-py and run by transformers."""
    sub = cut(open_checkpoint("demo"), SubModelSpec.parse("L1-D256"), allow_untrained=True)
    prompt = sub.checkpoint.text.prompts["query"]
    texts = ("blue sky", "лодка на реке", "def f(x): return x", "写真を編集する")
    given = CalibrationTexts(name="four", texts=texts, sha256="")
    names = [name for name in sub.tensors if name.endswith("_proj.weight")]
    schemes = {TABLE: ["q8_0"], **{name: ["q4_k", "q6_k"] for name in names}}
    losses = measure_losses(sub, Target.GGUF, schemes, table=TABLE, texts=given, work=tmp_path)
    model = AutoModel.from_pretrained(DEMO_FILES, dtype=torch.float32).eval()
    model.layers = model.layers[:1]
    ids = TextEncoder(sub.checkpoint.folder, sub.checkpoint.text).ids(
        [prompt + text if place % 2 else text for place, text in enumerate(texts)]
    )

    def vectors() -> torch.Tensor:
        found = [model(torch.tensor([one])).last_hidden_state[0, -1].double() for one in ids]
        return torch.nn.functional.normalize(torch.stack(found), dim=1)

    with torch.no_grad():
        exact = vectors()
        stored = model.embed_tokens.weight.numpy()
        packed = gguf.quants.quantize(stored, gguf.GGMLQuantizationType.Q8_0)
        restored = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)
        model.embed_tokens.weight.data = torch.from_numpy(np.ascontiguousarray(restored))
        expected = 1 - float((vectors() * exact).sum(dim=1).mean())
    assert losses[TABLE]["q8_0"] == pytest.approx(expected, rel=0.02)
    assert all(losses[name]["q4_k"] > losses[name]["q6_k"] > 0 for name in names)


def test_texts_are_counted_and_spread(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    lines = [json.dumps({"_id": str(n), "title": "t", "text": f"text {n}"}) for n in range(2 * MOST_TEXTS)]
    path.write_text("\n".join(lines), encoding="utf-8")
    found = read_calibration(str(path))
    assert len(found.texts) == MOST_TEXTS
    assert (found.texts[0], found.texts[-1]) == ("t text 0", f"t text {2 * MOST_TEXTS - 2}")
    builtin = read_calibration("builtin")
    assert not {probe.text for probe in PROBES} & set(builtin.texts)
    queries = (DEMO_FILES.parent / "evaluation" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    assert not {json.loads(line)["text"] for line in queries} & set(builtin.texts)


def test_a_file_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"empty.txt holds no text to calibrate with"):
        read_calibration(str(tmp_path / "empty.txt"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precisions": ["auto"]}, "--precision auto needs a bound: pass --min-cosine 0.99, or --max-size 60MB"),
        ({"min_cosine": 0.9}, "--min-cosine and --max-size are for --precision auto: pass that, or leave them out"),
        ({"precisions": ["auto"], "min_cosine": 1.5}, "--min-cosine 1.5 is not between 0 and 1, such as 0.99"),
        ({"precisions": ["auto"], "max_size": "big"}, "'big' is not a size: expected a number with KB, MB or GB"),
        ({"precisions": ["f16"], "calibrate": "builtin"}, "--calibrate has nothing to round in f16"),
        ({"targets": ["hf"], "calibrate": "builtin"}, "--calibrate is for targets that quantise, not for hf"),
        ({"precisions": ["auto"], "min_cosine": 0.9, "table_precision": "q8_0"}, "leave --table-precision out"),
        ({"targets": ["hf"], "precisions": ["auto"]}, "precision 'auto' is not one of target hf"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        check(SliceRequest(**options))


@pytest.mark.usefixtures("cold_children")
def test_a_child_that_stops_is_one_line(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('no torch today')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(pipeline.__file__).parents[2]}")
    request = SliceRequest(layers=1, precisions=["auto"], max_size="1GB", calibrate=str(texts))
    with pytest.raises(CalibrationError, match=r"calibration stopped with exit code 1: RuntimeError: no torch today$"):
        pipeline.plan_slice(request)


def test_sensitivity_lists_every_tensor_with_its_bytes(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["sensitivity", "demo", "--layers", "1", "--target", "openvino", "--calibrate", str(texts), "--json"])
    found = json.loads(capsys.readouterr().out)
    sub = cut(open_checkpoint("demo"), SubModelSpec.parse("L1-D256"))
    sizes = {row.name: row.bytes for row in plan_tensors(sub, Target.OPENVINO, "int8_sym", None)}
    costs = {(one["tensor"], one["scheme"]): one for one in found["costs"]}
    assert {tensor for tensor, _ in costs} == {name for name in sizes if sub.tensors[name].shape[1:]}
    for (tensor, scheme), one in costs.items():
        if scheme in ("int8_sym", "int8_b32"):
            assert one["bytes"] == sizes[tensor]
    value = "layers.0.self_attn.v_proj.weight"
    assert costs[value, "int4_sym_b128"]["loss"] > costs[value, "int4_sym"]["loss"] > costs[value, "int8_sym"]["loss"]
    assert found["calibration"]["name"] == "mine.txt"
