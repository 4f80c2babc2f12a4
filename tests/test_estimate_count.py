"""Operations and bytes of a call: against torch's own counter, ONNX Runtime's profile, gguf-py, and file sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlexport.artifact import read_artifact
from mlexport.errors import ArtifactError
from mlexport.estimate.count import artifact_work
from mlexport.estimate.gguf_file import gguf_work
from mlexport.estimate.onnx_file import onnx_work
from mlexport.estimate.openvino_file import openvino_work
from mlexport.estimate.planned import planned_operators, planned_work
from mlexport.estimate.work import LLAMA_ROWS, Rows, Work, operations, passes
from mlexport.pipeline import plan_slice
from mlexport.request import SliceRequest
from mlexport.runtime.llamacpp import MICRO_BATCH
from mlexport.spec import Target
from tests.tiny import make_tiny
from tests.written import sliced

TOKENS, BATCH = 24, 2
# Layers, rank, vocabulary, fixed shape
CUTS: list[dict[str, Any]] = [
    {"layers": 3, "dim": 16},
    {"layers": 1, "dim": 64, "rank": 8},
    {"layers": 2, "dim": 32, "vocab": ("600",)},
]
PRECISIONS = {"onnx": ("f32", "f16", "int8", "int4"), "openvino": ("f32", "int8", "int4"), "gguf": ("f16", "q8_0")}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", dtype="float32")


def folders_of(checkpoint: Path, out: Path, **cut: Any) -> tuple[Path, Any]:
    [result] = sliced(checkpoint, out, verify="off", allow_untrained=True, **cut)
    artifact = result.artifact
    return artifact.folder / artifact.manifest.variants[0].model_file, artifact


def unnamed(work: Work) -> Work:
    """Without the formats' own names of tensors, in one order."""
    products = sorted((replace(p, name="") for p in work.products), key=repr)
    lookups = tuple(replace(lookup, name="") for lookup in work.lookups)
    return replace(work, products=tuple(products), lookups=lookups, operators=())


@pytest.mark.parametrize("target", list(PRECISIONS))
@pytest.mark.parametrize("cut", CUTS)
def test_a_plan_and_its_artifact_do_the_same(checkpoint: Path, tmp_path: Path, *, target: str, cut: Any) -> None:
    options = {"targets": (target,), "precisions": PRECISIONS[target], "allow_untrained": True, **cut}
    [plan] = plan_slice(SliceRequest(model=str(checkpoint), **options))
    _, artifact = folders_of(checkpoint, tmp_path / "out", **{k: v for k, v in options.items() if k[0] != "a"})
    assert len(artifact.manifest.variants) == len(PRECISIONS[target])
    for planned, variant in zip(plan.variants, artifact.manifest.variants, strict=True):
        operators = planned_operators(plan.sub, plan.target, planned.rows)
        work, found = planned_work(plan.sub, plan.target, planned.rows, operators), artifact_work(artifact, variant)
        assert unnamed(found) == unnamed(work)
        if target == "onnx":
            assert found.operators == work.operators


@pytest.mark.parametrize(("target", "read"), [("onnx", onnx_work), ("openvino", openvino_work)])
def test_a_static_file_has_its_shape(checkpoint: Path, tmp_path: Path, *, target: str, read: Any) -> None:
    cut = {"layers": 2, "dim": 32, "targets": (target,), "precisions": ("f32",), "static": "2x24"}
    file, _ = folders_of(checkpoint, tmp_path / "out", **cut)
    [plan] = plan_slice(SliceRequest(model=str(checkpoint), allow_untrained=True, **cut))
    work = planned_work(plan.sub, plan.target, plan.variants[0].rows)
    assert read(file).shape == (2, 24)
    assert unnamed(read(file)) == unnamed(work)
    assert "Attention" not in read(file).operators


def test_torch_counts_the_same_operations(checkpoint: Path, tmp_path: Path) -> None:
    """transformers runs every layer on every token, as llama.cpp does; it has no head."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    model = AutoModel.from_pretrained(checkpoint, attn_implementation="eager")
    ids = torch.arange(TOKENS)[None].expand(BATCH, -1)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    flops = {str(kind): count for kind, count in counter.get_flop_counts()["Global"].items()}
    rotary = TOKENS * 2 * 16 * BATCH  # frequencies times positions, a product to torch: head_dim / 2 = 16
    cut = {"layers": 3, "dim": 64, "targets": ("gguf",), "precisions": ("f32",)}
    file, _ = folders_of(checkpoint, tmp_path / "out", **cut)
    # As one pass over all tokens: llama.cpp's own passes look at empty places of its cache too
    found = operations(replace(gguf_work(file), target=Target.HF), TOKENS, BATCH)
    assert found["products f32"] == flops["aten.mm"]
    assert flops["aten.bmm"] - found["attention"] in (0, rotary, rotary // BATCH)
    assert found["output head"] == 2 * TOKENS * BATCH * 64 * 16384


@pytest.mark.parametrize(("precision", "kind"), [("f32", "Gemm"), ("int8", "MatMulInteger"), ("int4", "MatMulNBits")])
def test_onnx_runtime_sees_the_same_products(checkpoint: Path, tmp_path: Path, *, precision: str, kind: str) -> None:
    """Shapes of its profile, the graph as it is in the file."""
    import onnxruntime as ort

    cut = {"layers": 2, "dim": 32, "rank": 8, "targets": ("onnx",), "precisions": (precision,)}
    file, _ = folders_of(checkpoint, tmp_path / "out", **cut)
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    ids = np.ones((BATCH, TOKENS), dtype=np.int64)
    session.run(None, {"input_ids": ids, "attention_mask": ids})
    events = [one for one in json.loads(Path(session.end_profiling()).read_text()) if one.get("cat") == "Node"]
    counted = 0
    for event in events:
        arguments = event["args"]
        if arguments.get("op_name") in ("Gemm", "MatMulInteger", "MatMulNBits") and "output_type_shape" in arguments:
            [inputs] = arguments["input_type_shape"][0].values()
            [outputs] = arguments["output_type_shape"][0].values()
            counted += 2 * prod(outputs) * inputs[-1]
    assert any(event["args"].get("op_name") == kind for event in events)
    found = operations(onnx_work(file), TOKENS, BATCH)
    assert sum(count for name, count in found.items() if name.startswith("products")) == counted


def test_last_layer_runs_one_token_in_our_graphs(checkpoint: Path, tmp_path: Path) -> None:
    cut = {"layers": 2, "dim": 32, "precisions": ("f32",)}
    graph = onnx_work(folders_of(checkpoint, tmp_path / "onnx", targets=("onnx",), **cut)[0])
    file = gguf_work(folders_of(checkpoint, tmp_path / "gguf", targets=("gguf",), **cut)[0])
    assert [p.rows for p in graph.products].count(Rows.TEXT) == 5
    assert [p.name for p in graph.products if p.rows is Rows.TOKEN and ".1." in p.name] == [
        "layers.1.self_attn.k_proj.weight",
        "layers.1.self_attn.v_proj.weight",
    ]
    assert all(p.rows is Rows.TOKEN for p in file.products)
    assert [a.queries for a in graph.attentions] == [Rows.TOKEN, Rows.TEXT]


def test_the_head_is_of_gguf_alone_and_costs_no_bytes_twice(checkpoint: Path, tmp_path: Path) -> None:
    from gguf import GGUFReader

    cut = {"layers": 2, "dim": 32}
    file, _ = folders_of(checkpoint, tmp_path / "out", targets=("gguf",), precisions=("q8_0",), **cut)
    work = gguf_work(file)
    [head] = [product for product in work.products if product.head]
    assert (head.columns, head.outputs, head.scheme) == (64, 16384, "q8_0")
    matrices = [tensor for tensor in GGUFReader(file).tensors if len(tensor.shape) == 2]
    assert work.weight_bytes == sum(int(tensor.n_bytes) for tensor in matrices)
    assert work.weight_bytes < file.stat().st_size
    graph = onnx_work(folders_of(checkpoint, tmp_path / "onnx", layers=2, dim=32, targets=("onnx",))[0])
    assert not any(product.head for product in graph.products)


@pytest.mark.parametrize(("target", "read"), [("onnx", onnx_work), ("openvino", openvino_work)])
def test_bytes_are_those_of_the_file(tmp_path: Path, *, target: str, read: Any) -> None:
    big = make_tiny(tmp_path / "model", hidden=256, mlp=768, layers=2)
    file, _ = folders_of(big, tmp_path / "out", layers=2, dim=32, targets=(target,), precisions=("int8",))
    size = file.stat().st_size if target == "onnx" else file.with_suffix(".bin").stat().st_size
    # Norms, small constants and nodes are the rest
    assert 0.97 * size < read(file).weight_bytes < size


def test_llama_cpp_takes_micro_batches() -> None:
    assert LLAMA_ROWS == MICRO_BATCH
    found = passes(Target.GGUF, 300, 1)
    assert [(one.rows, one.keys, one.last) for one in found] == [(128, 256, False), (128, 256, False), (44, 512, True)]
    assert [one.texts for one in passes(Target.GGUF, 32, 6)] == [4, 2]
    assert [(one.texts, one.rows, one.keys) for one in passes(Target.ONNX, 300, 6)] == [(6, 300, 300)]


@pytest.mark.parametrize(
    ("name", "read", "reason"),
    [
        ("x.onnx", onnx_work, "cannot be read as an ONNX file"),
        ("x.xml", openvino_work, "cannot be read as an OpenVINO IR"),
        ("x.gguf", gguf_work, "cannot be read as GGUF: it does not start as GGUF does"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, *, name: str, read: Any, reason: str) -> None:
    (tmp_path / name).write_bytes(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01 no model")
    with pytest.raises(ArtifactError, match=reason):
        read(tmp_path / name)


def test_a_cut_off_gguf_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    file, _ = folders_of(checkpoint, tmp_path / "out", layers=1, dim=32, targets=("gguf",))
    (tmp_path / "half.gguf").write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="cannot be read as GGUF"):
        gguf_work(tmp_path / "half.gguf")


def test_hf_folders_say_nothing_of_operations(checkpoint: Path, tmp_path: Path) -> None:
    _, artifact = folders_of(checkpoint, tmp_path / "out", layers=1, dim=32, targets=("hf",))
    artifact = read_artifact(artifact.folder)
    with pytest.raises(ArtifactError, match="`mlexport estimate L1-D32 --target hf`"):
        artifact_work(artifact, artifact.manifest.variants[0])
