"""The ONNX graph in ONNX Runtime and OpenVINO against transformers, and its tensors against ONNX Runtime's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import openvino as ov
import pytest
import torch
from onnxruntime.capi import _pybind_state as kernels
from transformers import AutoModel, AutoTokenizer

from mlexport.checkpoint import open_checkpoint
from mlexport.export.onnx.builder import Builder
from mlexport.export.onnx.stream import write_model
from mlexport.export.onnx.table import LOOKUPS
from mlexport.model import TABLE, SubModel
from mlexport.probes import PROBES, over_long
from mlexport.quantize.blocks import block_rows, int8_rows
from mlexport.quantize.plan import plan_tensors
from mlexport.runtime.ort import OrtEmbedder
from mlexport.spec import PRECISIONS, SubModelSpec, Target
from tests.processors import INT8
from tests.reference import hand_cut
from tests.tiny import make_tiny
from tests.written import write_cut

MAX_LENGTH = 64
TEXTS = [probe.text for probe in PROBES] + [over_long(MAX_LENGTH).text]
NAMES = tuple(dict.fromkeys(PRECISIONS[Target.ONNX].values()))
Run = Callable[[np.ndarray, np.ndarray], np.ndarray]


def write_onnx(
    checkpoint: Path, out: Path, spec: str, precision: str = "f32", table: str | None = None
) -> tuple[SubModel, Path]:
    return write_cut(checkpoint, out, spec, target="onnx", precision=precision, table=table)


def in_ort(file: Path) -> Run:
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})[0]


def in_openvino(file: Path) -> Run:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(str(file), "CPU", settings)
    return lambda ids, mask: compiled({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]


def padded(rows: Sequence[Sequence[int]], side: str) -> tuple[np.ndarray, np.ndarray]:
    longest = max(map(len, rows))
    # Not zero: what stands in the padding must not matter
    ids = np.full((len(rows), longest), 77, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        where = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        ids[place, where], mask[place, where] = row, 1
    return ids, mask


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=MAX_LENGTH)


@pytest.mark.parametrize("runtime", [in_ort, in_openvino])
@pytest.mark.parametrize("name", ["L3-D64", "L2-R8-D16", "L1-R16-D8"])
def test_f32_is_transformers_padded_left_or_right_alone_or_in_a_batch(
    checkpoint: Path, tmp_path: Path, runtime: Callable[[Path], Run], name: str
) -> None:
    spec = SubModelSpec.parse(name)
    dim = spec.dim
    sub, file = write_onnx(checkpoint, tmp_path / "o", name)
    expected = hand_cut(checkpoint, TEXTS, layers=spec.layers, rank=spec.rank, dim=dim, max_length=MAX_LENGTH)
    rows = OrtEmbedder(tmp_path / "o", str(file.relative_to(tmp_path / "o")), sub.checkpoint.text, dim).token_ids(TEXTS)
    assert rows == AutoTokenizer.from_pretrained(checkpoint)(TEXTS, truncation=True)["input_ids"]
    run = runtime(file)
    for side in ("left", "right"):
        found = run(*padded(rows, side))
        assert found.shape == (len(TEXTS), dim)
        assert (found * expected).sum(axis=1).min() >= 0.99999
    for row, vector in zip(rows, expected, strict=True):
        assert (run(*padded([row], "right"))[0] * vector).sum() >= 0.99999


@pytest.mark.parametrize("runtime", [in_ort, in_openvino])
def test_one_token_and_8192_tokens(tmp_path: Path, runtime: Callable[[Path], Run]) -> None:
    folder = make_tiny(tmp_path / "model", max_length=8192)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"max_position_embeddings": 16384}
    path.write_text(json.dumps(config), encoding="utf-8")
    _, file = write_onnx(folder, tmp_path / "o", "L2-D32")
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    model.layers = model.layers[:2]
    model.config.num_hidden_layers = 2
    run = runtime(file)
    for length in (1, 8192):
        ids = np.random.default_rng(length).integers(0, 16000, (1, length))
        with torch.no_grad():
            last = model(torch.from_numpy(ids)).last_hidden_state[0, -1, :32]
        expected = torch.nn.functional.normalize(last, dim=0).numpy()
        assert (run(ids, np.ones_like(ids))[0] * expected).sum() >= 0.99999


@pytest.mark.parametrize("precision", NAMES)
def test_every_precision_is_a_valid_model_near_the_reference(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    sub, file = write_onnx(checkpoint, tmp_path / "o", "L2-R16-D32", precision)
    onnx.checker.check_model(file)
    embedder = OrtEmbedder(tmp_path / "o", str(file.relative_to(tmp_path / "o")), sub.checkpoint.text, 32)
    found = embedder.embed(TEXTS)
    embedder.close()
    expected = hand_cut(checkpoint, TEXTS, layers=2, rank=16, dim=32, max_length=MAX_LENGTH)
    limits = {
        "f32": 0.99999,
        "f16": 0.9999,
        "int8": INT8,
        "int8_b32": 0.998,
        "int4_b32": 0.9,
        "int4_b64": 0.88,
        "int4_b128": 0.85,
    }
    assert (found * expected).sum(axis=1).mean() >= limits[precision]


def test_f32_uses_standard_operators_alone(checkpoint: Path, tmp_path: Path) -> None:
    _, file = write_onnx(checkpoint, tmp_path / "o", "L2-D32")
    model = onnx.load(file)
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 23}
    assert {node.domain for node in model.graph.node} == {""}
    inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    assert inputs == dict.fromkeys(("input_ids", "attention_mask"), onnx.TensorProto.INT64)
    assert "sentence_embedding" in [value.name for value in model.graph.output]


def test_the_last_layer_runs_query_and_mlp_for_one_token(checkpoint: Path, tmp_path: Path) -> None:
    """ONNX Runtime's own profile: the rows of the products in the last layer, and in the one before."""
    _, file = write_onnx(checkpoint, tmp_path / "o", "L2-D32")
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    ids = np.ones((2, 9), dtype=np.int64)
    session.run(None, {"input_ids": ids, "attention_mask": ids})
    events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    rows = {}
    for event in events:
        if event.get("args", {}).get("op_name") in ("Gemm", "FusedGemm"):
            [shape] = event["args"]["input_type_shape"][0].values()
            rows[event["name"]] = shape[0]
    of_layer = [{count for name, count in rows.items() if f"layers.{layer}/mlp" in name} for layer in (0, 1)]
    assert of_layer == [{18}, {2}]


@pytest.mark.parametrize("precision", NAMES)
def test_the_file_has_the_planned_bytes(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    sub, file = write_onnx(checkpoint, tmp_path / "o", "L3-R16-D64", precision)
    planned = sum(row.bytes for row in plan_tensors(sub, Target.ONNX, precision, None))
    stored = sum(len(tensor.raw_data) for tensor in onnx.load(file).graph.initializer)
    # The graph's own constants are a few hundred bytes
    assert planned <= stored < planned + 4096


def test_int8_rows_are_onnxruntimes() -> None:
    from onnxruntime.quantization.quant_utils import QuantType, compute_scale_zp, quantize_nparray

    rows = np.random.default_rng(0).standard_normal((5, 96)).astype(np.float32)
    values, scales = int8_rows(rows)
    for row, value, scale in zip(rows, values, scales, strict=True):
        largest = np.abs(row).max()
        zero, expected = compute_scale_zp(-largest, largest, np.int8(-127), np.int8(127), symmetric=True)
        assert (zero, np.float32(expected)) == (0, scale)
        kind = onnx.TensorProto.INT8
        assert QuantType.QInt8.tensor_type == kind
        assert np.array_equal(quantize_nparray(kind, row, np.float32(expected), np.int8(0), -127, 127), value)


@pytest.mark.parametrize(("bits", "block"), [(4, 32), (4, 64), (4, 128), (8, 32)])
def test_blocks_are_onnxruntimes(bits: int, block: int) -> None:
    rows = np.random.default_rng(1).standard_normal((6, 256)).astype(np.float32)
    rows[2, block : 2 * block] = 0
    values, scales = block_rows(rows, bits, block)
    blocks = 256 // block
    theirs = np.zeros((6, blocks, block * bits // 8), dtype=np.uint8)
    their_scales = np.zeros((6, blocks), dtype=np.float32)
    zero_points = np.zeros((6, blocks // 2 if bits == 4 else blocks), dtype=np.uint8)
    quantise = {4: kernels.quantize_matmul_4bits, 8: kernels.quantize_matmul_8bits}[bits]
    # [columns, rows], as MatMul has its weights
    quantise(theirs, np.ascontiguousarray(rows.T), their_scales, zero_points, block, 6, 256, True)
    assert np.allclose(their_scales, scales, rtol=1e-6)
    assert (theirs == values).mean() > 0.999


def test_int8_vectors_do_not_depend_on_the_texts_beside_them(tmp_path: Path) -> None:
    """One scale serves the whole batch, but each token's numbers are brought to the same size before."""
    out = tmp_path / "o"
    sub, file = write_onnx(Path("demo"), out, "L8-D128", "int8")
    rows = OrtEmbedder(out, str(file.relative_to(out)), sub.checkpoint.text, 128).token_ids(
        [probe.text for probe in PROBES]
    )
    run = in_ort(file)
    alone = np.concatenate([run(*padded([row], "right")) for row in rows])
    together = run(*padded(rows, "right"))
    assert (alone * together).sum(axis=1).min() >= 0.9999


@pytest.mark.parametrize("scheme", sorted(LOOKUPS))
def test_rows_looked_up_are_the_same_numbers_in_both_runtimes(tmp_path: Path, scheme: str) -> None:
    """OpenVINO's shift of bytes divides and rounds; that once cost an int4 table half of its precision there."""
    table = open_checkpoint("demo").tensors[TABLE]
    b = Builder()
    ids = ir.val("ids", ir.DataType.INT64, ["tokens"])
    found = LOOKUPS[scheme](b, ids, table)
    found.name, found.dtype, found.shape = "rows", ir.DataType.FLOAT, ir.Shape(["tokens", table.shape[1]])
    write_model(b.model([ids], [found], {}), b.weights, tmp_path / "t.onnx", lambda _: None)
    feed = {"ids": np.arange(0, table.shape[0], 37)}
    session = ort.InferenceSession(tmp_path / "t.onnx", providers=["CPUExecutionProvider"])
    compiled = ov.Core().compile_model(tmp_path / "t.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(feed)["rows"], session.run(None, feed)[0], rtol=1e-6, atol=1e-6)
