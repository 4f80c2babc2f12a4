"""Context binaries: vectors of Qualcomm's simulator against transformers, and what the compiler refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mlexport
from mlexport.artifact import read_artifact
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import ArtifactError, ExportError, MeasureError
from mlexport.export.onnx import source_of
from mlexport.export.onnx.npu import NpuGraph
from mlexport.export.onnx.stream import write_model
from mlexport.facts import Range
from mlexport.npu import CHIPS, unsupported
from mlexport.npu.simulator import Simulated, compile_graph
from mlexport.quantize.plan import plan_tensors
from mlexport.runtime.settings import Settings
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.reference import hand_cut
from tests.tiny import make_tiny
from tests.written import sliced

LENGTH = 16
SHAPE = f"1x{LENGTH}"
TEXTS = ["edit photos", "ゲーム", "gioco di scacchi e di dama", ""]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=LENGTH)


@pytest.fixture(scope="module")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """f16, of a rank cut's two factors, for the newest chip."""
    out = tmp_path_factory.mktemp("qnn") / "a"
    options = {"layers": 1, "rank": 16, "dim": 16, "targets": ("qnn",), "static": SHAPE, "soc": "sm8850"}
    sliced(checkpoint, out, verify="sample", **options)
    return out


def test_vectors_of_the_simulator_are_those_of_transformers(checkpoint: Path, artifact: Path) -> None:
    expected = hand_cut(checkpoint, TEXTS, layers=1, rank=16, dim=16, max_length=LENGTH)
    with mlexport.open_artifact(artifact) as model:
        found = model.embed(TEXTS)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (found * expected).sum(axis=1).min() >= 0.9999


def test_the_manifest_says_what_it_was_compiled_for_and_ran_in(artifact: Path) -> None:
    manifest = read_artifact(artifact).manifest
    [variant] = manifest.variants
    assert (variant.verification.status, variant.verification.token_mismatches) == ("passed", 0)
    found = variant.compiled
    assert found is not None
    assert (found.soc, found.soc_model, found.htp_arch) == ("sm8850", 87, 81)
    assert (found.batch, found.tokens, found.ran) == (1, LENGTH, "simulator")
    assert found.sdk.startswith("2.")
    assert found.provider.startswith("onnxruntime-qnn 2.")
    assert found.runtime.startswith("onnxruntime 1.")
    assert found.nodes > 50
    files = {entry.path for entry in manifest.files}
    assert {variant.model_file, variant.model_file.replace(".onnx", ".bin")} <= files
    assert not any("graph" in path for path in files)


def test_the_wrapper_is_one_node_that_names_its_binary(artifact: Path) -> None:
    [variant] = read_artifact(artifact).manifest.variants
    path = artifact / variant.model_file
    model = onnx.load(path)
    [node] = model.graph.node
    values = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    assert (node.op_type, node.domain, values["embed_mode"]) == ("EPContext", "com.microsoft", 0)
    assert values["ep_cache_context"].decode() == path.with_suffix(".bin").name
    assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask"]
    assert [value.type.tensor_type.elem_type for value in model.graph.input] == [TensorProto.INT64] * 2
    assert [value.name for value in model.graph.output] == ["sentence_embedding"]


def test_a_simulator_is_not_measured(artifact: Path) -> None:
    from mlexport import runtime

    found = read_artifact(artifact)
    file = found.manifest.variants[0].model_file
    embedder = runtime.load(Target.QNN, artifact, file, found.text, 16)
    try:
        assert embedder.fixed_shape == (1, LENGTH)
        assert embedder.engine().provider == "QNNExecutionProvider"
        with pytest.raises(MeasureError, match="Qualcomm's simulator here, whose times are no chip's"):
            embedder.stream(batch=1, tokens=LENGTH)
    finally:
        embedder.close()
    with pytest.raises(MeasureError, match="runs on QNNExecutionProvider alone"):
        runtime.load(Target.QNN, artifact, file, found.text, 16, settings=Settings(provider="cuda"))


def test_a_damaged_binary_is_refused(artifact: Path, tmp_path: Path) -> None:
    [variant] = read_artifact(artifact).manifest.variants
    name = Path(variant.model_file).name
    (tmp_path / name).write_bytes((artifact / variant.model_file).read_bytes())
    (tmp_path / name).with_suffix(".bin").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match=rf"{name} is refused by onnxruntime-qnn: ."):
        Simulated(tmp_path / name)


def test_an_operator_that_is_not_taken_is_named(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    nodes = [
        helper.make_node("Atanh", ["x"], ["a"], name="layers.3/mlp/Atanh"),
        helper.make_node("Atanh", ["a"], ["b"], name="layers.4/mlp/Atanh"),
        helper.make_node("Add", ["b", "x"], ["y"], name="layers.4/mlp/Add"),
    ]
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opset), tmp_path / "m.onnx")
    message = (
        r"compiler for sm8650 left operators to the CPU, which is disabled: Atanh \(layers.3/mlp/Atanh and 1 more\)"
    )
    with pytest.raises(ExportError, match=message):
        compile_graph(tmp_path / "m.onnx", tmp_path / "out.onnx", CHIPS["sm8650"], {})
    assert not (tmp_path / "out.onnx").exists()


def test_a_compiler_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"compiler for sm8650 failed \(exit code 4\): .*m\.onnx") as error:
        compile_graph(tmp_path / "m.onnx", tmp_path / "out.onnx", CHIPS["sm8650"], {})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("precision", ["f16", "w8a16"])
def test_the_graph_has_listed_operators_and_integer_weights(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    sub = cut(open_checkpoint(str(checkpoint)), SubModelSpec.parse("L2-D16"), allow_untrained=True)
    rows = plan_tensors(sub, Target.QNN, precision, None)
    matrices = [row for row in rows if row.name.endswith("_proj.weight")]
    assert {row.scheme for row in matrices} == {precision}
    schemes = {row.name: "f16_stored" if row in matrices and precision == "f16" else row.scheme for row in rows}
    limits = (Range(low=-9.0, high=9.0), Range(low=-1.0, high=30.0))
    graph = NpuGraph(source_of(sub, schemes), 1, LENGTH, {row.name: limits for row in matrices})
    path = tmp_path / "m.onnx"
    write_model(graph.build({}), graph.b.weights, path, lambda _: None, external=True)
    model = onnx.load(path)
    assert unsupported((node.op_type for node in model.graph.node), "qnn-htp") == ()
    assert "RMSNormalization" in {node.op_type for node in model.graph.node}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kind = TensorProto.INT8 if precision == "w8a16" else TensorProto.FLOAT16
    assert {stored[row.name].data_type for row in matrices} == {kind}
    # Queries, keys and values of the first layer read one quantised input
    count = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    first, last = 4 + 7, 5 + 7
    assert count == (first + last + 1 if precision == "w8a16" else 0)


@pytest.mark.slow
def test_w8a16_is_verified(checkpoint: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"text number {place} of a small set, {place * 7} words\n" for place in range(24)))
    options = {"layers": 1, "dim": 16, "targets": ("qnn",), "static": SHAPE, "precisions": ["w8a16"]}
    [result] = sliced(checkpoint, tmp_path / "a", verify="sample", calibrate=str(texts), **options)
    [variant] = result.artifact.manifest.variants
    assert variant.verification.status == "passed"
    assert variant.verification.mean_cosine is not None
    assert variant.verification.mean_cosine > 0.995
    assert variant.calibration is not None
    schemes = {row.scheme for row in variant.plan if row.name.endswith("_proj.weight")}
    assert "w8a16" in schemes
    assert next(row.scheme for row in variant.plan if row.name == "embed_tokens.weight") == "int8_b32"


def test_the_child_needs_no_torch(artifact: Path) -> None:
    [variant] = read_artifact(artifact).manifest.variants
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "from pathlib import Path; from mlexport.npu.htp import open_context\n"
        f"print(open_context(Path({json.dumps(str(artifact / variant.model_file))})).get_inputs()[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip().endswith(f"[1, {LENGTH}]")
