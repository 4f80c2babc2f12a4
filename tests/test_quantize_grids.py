"""Grids and the bits they put into blocks, with gguf-py, llama.cpp and ONNX Runtime's rule as judges."""

from __future__ import annotations

import ctypes
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from mlexport.checkpoint import open_checkpoint
from mlexport.export.gguf import gguf_name
from mlexport.quantize.bits import CODES
from mlexport.quantize.blocks import block_rows, int8_rows, restored_rows
from mlexport.quantize.ggml import GGML_TYPES, packer
from mlexport.quantize.graph_plan import GRAPH_SCHEMES
from mlexport.quantize.grids import grid
from mlexport.quantize.plan import plan_tensors
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.tiny import make_tiny
from tests.written import write_cut

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((12, 512)).astype(np.float32)
WEIGHTS = np.exp(RNG.standard_normal(512)).astype(np.float32)


@pytest.mark.parametrize("scheme", CODES)
def test_codes_put_into_blocks_are_what_gguf_py_reads(scheme: str) -> None:
    made = grid(Target.GGUF, scheme, ROWS, WEIGHTS)
    assert made is not None
    codes = np.random.default_rng(1).integers(0, len(made.levels), ROWS.shape).astype(np.int16)
    read = gguf.dequantize(made.pack(codes), gguf.GGMLQuantizationType(GGML_TYPES[scheme]))
    np.testing.assert_allclose(read, made.values(codes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", CODES)
def test_the_nearest_codes_are_as_near_as_the_kernels(scheme: str) -> None:
    made = grid(Target.GGUF, scheme, ROWS, WEIGHTS)
    assert made is not None
    kind = gguf.GGMLQuantizationType(GGML_TYPES[scheme])
    kernel = gguf.dequantize(packer(scheme, WEIGHTS)(ROWS).reshape(len(ROWS), -1), kind)
    ours = made.values(made.nearest(ROWS))
    assert np.abs(ours - ROWS).mean() <= np.abs(kernel - ROWS).mean() * 1.0001


@pytest.mark.parametrize("target", [Target.ONNX, Target.OPENVINO])
@pytest.mark.parametrize("scheme", [name for name, kind in GRAPH_SCHEMES.items() if kind.block is not None])
def test_numbers_of_a_block_grid_are_stored_without_error(scheme: str, target: Target) -> None:
    """The exporter packs them again by the rule of MlasQuantizeBlockwise: it must find the same scales."""
    kind, made = GRAPH_SCHEMES[scheme], grid(target, scheme, ROWS, WEIGHTS)
    assert made is not None
    assert kind.block is not None
    # Far from the rows: only what is fixed keeps the scale
    values = made.pack(made.nearest(RNG.standard_normal(ROWS.shape).astype(np.float32) * 2))
    stored, scales = block_rows(values, kind.bits, kind.block)
    if target is Target.OPENVINO:
        scales = scales.astype(np.float16).astype(np.float32)
    assert np.array_equal(restored_rows(stored, scales, kind.bits, ROWS.shape[1]), values)


def test_numbers_of_a_row_grid_are_stored_without_error() -> None:
    made = grid(Target.ONNX, "int8", ROWS, WEIGHTS)
    assert made is not None
    values = made.pack(made.nearest(ROWS + 0.01))
    stored, scales = int8_rows(values)
    np.testing.assert_allclose(stored * scales[:, None], values, rtol=1e-6)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of 256, four heads for each of keys and values, and an eighth of the layers that is not empty."""
    folder = tmp_path_factory.mktemp("wide") / "model"
    return make_tiny(folder, layers=9, hidden=256, mlp=256, heads=8, kv_heads=2, head_dim=32, rank=None)


def importance(names: list[str]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(2)
    return {name: np.exp(generator.standard_normal(256)).astype(np.float32) for name in names}


def llama_quantize(source: Path, target: Path, precision: str, matrix: dict[str, np.ndarray] | None) -> None:
    """llama.cpp's own whole-file quantiser, with an importance matrix in its own form."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{precision.upper()}")
    if matrix is not None:
        entries = (llama_cpp.llama_model_imatrix_data * (len(matrix) + 1))()
        for entry, (name, weights) in zip(entries, matrix.items(), strict=False):
            entry.name = name.encode()
            entry.data = weights.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entry.size = weights.size
        parameters.imatrix = ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_model_imatrix_data))
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    assert code == 0


@pytest.mark.parametrize("precision", ["q4_0", "q4_k_m", "q5_0", "q5_k_m", "q6_k", "iq4_xs"])
@pytest.mark.parametrize("weighted", [True, False])
def test_importance_is_used_as_llama_quantize_uses_it(
    wide: Path, tmp_path: Path, precision: str, weighted: bool
) -> None:
    sub, plain = write_cut(wide, tmp_path / "f32", "L9-D256", target="gguf")
    plan = plan_tensors(sub, Target.GGUF, precision, None, weighted=weighted)
    matrix = importance([gguf_name(row.name) for row in plan if len(row.shape) == 2]) if weighted else {}
    llama_quantize(plain, tmp_path / "theirs.gguf", precision, matrix if weighted else None)
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "theirs.gguf").tensors}
    for row in plan:
        name = gguf_name(row.name)
        assert theirs[name].tensor_type.name.lower() == row.scheme, row.name
        ours = packer(row.scheme, matrix.get(name))(sub.tensors[row.name].read())
        assert np.array_equal(theirs[name].data.view(np.uint8).reshape(-1), ours.reshape(-1)), row.name


def test_the_plan_says_block_and_symmetry(wide: Path) -> None:
    sub = cut(open_checkpoint(str(wide)), SubModelSpec.parse("L9-D256"), allow_untrained=True)
    rows = {row.name: row for row in plan_tensors(sub, Target.GGUF, "q4_k_m", None)}
    q, norm = rows["layers.4.self_attn.q_proj.weight"], rows["norm.weight"]
    assert (q.scheme, q.block, q.symmetric) == ("q4_k", 32, False)
    assert (norm.block, norm.symmetric) == (None, None)
    rows = {row.name: row for row in plan_tensors(sub, Target.ONNX, "int4_b128", None)}
    assert (rows["layers.4.self_attn.q_proj.weight"].block, rows["embed_tokens.weight"].block) == (128, 32)
