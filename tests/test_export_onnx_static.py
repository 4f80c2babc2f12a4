"""The static graph: fixed shapes, old operators, at most four axes, and transformers' vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import mlexport
from mlexport.checkpoint import open_checkpoint
from mlexport.export.onnx.graph import Source
from mlexport.export.onnx.static import MASKED, StaticGraph
from mlexport.export.onnx.stream import write_model
from mlexport.probes import PROBES
from mlexport.quantize.plan import plan_tensors
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.reference import hand_cut
from tests.tiny import make_tiny
from tests.written import sliced

BATCH, LENGTH = 2, 48
# Not in a compiled model for an NPU: shapes that depend on data, and what opset 23 brought
FORBIDDEN = {"Attention", "RMSNormalization", "RotaryEmbedding", "Shape", "Range", "NonZero", "Loop", "If", "Expand"}
TEXTS = [probe.text for probe in PROBES if probe.name in ("en", "ru", "hi", "ja", "code", "empty", "repeated", "a")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=LENGTH)


def write_static(checkpoint: Path, file: Path, spec: str, precision: str = "f32") -> None:
    sub = cut(open_checkpoint(str(checkpoint)), SubModelSpec.parse(spec), allow_untrained=True)
    schemes = {row.name: row.scheme for row in plan_tensors(sub, Target.ONNX, precision, None)}
    source = Source(config=sub.config, tensors=sub.tensors, schemes=schemes, dim=sub.spec.dim)
    graph = StaticGraph(source, BATCH, LENGTH)
    write_model(graph.build({}), graph.b.weights, file, lambda _: None)


@pytest.mark.parametrize(("layers", "dim"), [(3, 64), (1, 16)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_vectors_are_those_of_transformers(
    checkpoint: Path, tmp_path: Path, *, layers: int, dim: int, side: str
) -> None:
    from transformers import AutoTokenizer

    write_static(checkpoint, tmp_path / "s.onnx", f"L{layers}-D{dim}")
    session = ort.InferenceSession(str(tmp_path / "s.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side=side)
    batch = tokenizer(TEXTS, truncation=True, max_length=LENGTH, padding="max_length", return_tensors="np")
    expected = hand_cut(checkpoint, TEXTS, layers=layers, rank=None, dim=dim, max_length=LENGTH)
    for start in range(0, len(TEXTS) - 1, BATCH):
        rows = slice(start, start + BATCH)
        feed = {name: batch[name][rows].astype(np.int64) for name in ("input_ids", "attention_mask")}
        [found] = session.run(None, feed)
        assert (found * expected[rows]).sum(axis=1).min() >= 0.99999


def test_shapes_are_fixed_and_operators_old(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.onnx"
    write_static(checkpoint, file, "L2-D32")
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import] == [18]
    assert {node.op_type for node in model.graph.node} & FORBIDDEN == set()
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    for value in values:
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert len(sizes) <= 4, value.name
        assert all(size > 0 for size in sizes), value.name
    assert len(values) > len(model.graph.node)


def test_the_mask_is_finite_in_float16(checkpoint: Path, tmp_path: Path) -> None:
    assert np.isfinite(np.float16(MASKED))
    assert np.exp(np.float16(MASKED)) == 0
    write_static(checkpoint, tmp_path / "s.onnx", "L1-D16")
    for tensor in onnx.load(tmp_path / "s.onnx").graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            assert np.isfinite(onnx.numpy_helper.to_array(tensor).astype(np.float16)).all(), tensor.name


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_static_artifact_is_verified_and_embeds_any_number_of_texts(
    checkpoint: Path, tmp_path: Path, target: str
) -> None:
    shape = f"{BATCH}x{LENGTH // 2}"
    arguments = {"layers": 2, "dim": 32, "targets": (target,), "precisions": ["f32"]}
    [result] = sliced(checkpoint, tmp_path / "s", static=shape, **arguments)
    report = result.artifact.manifest.variants[0].verification
    assert (report.status, report.token_mismatches) == ("passed", 0)
    assert mlexport.verify_artifact(tmp_path / "s")["f32"].status == "passed"
    short = ["edit photos", "ゲーム", "a"]
    expected = hand_cut(checkpoint, short, layers=2, rank=None, dim=32)
    with mlexport.open_artifact(tmp_path / "s") as static:
        assert (static.embed(short) * expected).sum(axis=1).min() >= 0.99999
    if target == "onnx":
        model = onnx.load(tmp_path / "s" / result.artifact.manifest.variants[0].model_file)
        axes = [[axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in model.graph.input]
        assert axes == [[BATCH, LENGTH // 2]] * 2
