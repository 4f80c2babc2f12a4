"""The plan: bytes as gguf-py counts them, a reason for each tensor, and what cannot be planned."""

from __future__ import annotations

from math import prod

import gguf
import pytest

from mlexport.checkpoint import open_checkpoint
from mlexport.errors import UsageError
from mlexport.model import TABLE, SubModel
from mlexport.quantize.ggml import GGML_TYPES
from mlexport.quantize.plan import BLOCKS, plan_tensors
from mlexport.slicing import cut
from mlexport.spec import PRECISIONS, SubModelSpec, Target
from tests.tiny import make_tiny


@pytest.fixture(scope="module")
def sub(tmp_path_factory: pytest.TempPathFactory) -> SubModel:
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model")
    return cut(open_checkpoint(str(folder)), SubModelSpec.parse("L2-D64"))


@pytest.mark.parametrize("scheme", BLOCKS)
def test_blocks_and_types_are_gguf_pys(scheme: str) -> None:
    kind = gguf.GGMLQuantizationType[scheme.upper()]
    assert GGML_TYPES[scheme] == kind
    assert BLOCKS[scheme] == gguf.GGML_QUANT_SIZES[kind]


@pytest.mark.parametrize("target", list(Target))
def test_every_precision_plans_every_tensor_with_a_reason(sub: SubModel, target: Target) -> None:
    for precision in set(PRECISIONS[target].values()):
        rows = plan_tensors(sub, target, precision, None)
        assert [row.name for row in rows] == list(sub.tensors)
        assert all(row.reason for row in rows)


@pytest.mark.parametrize("target", [Target.HF, Target.GGUF])
def test_bytes_are_whole_blocks(sub: SubModel, target: Target) -> None:
    for precision in set(PRECISIONS[target].values()):
        for row in plan_tensors(sub, target, precision, None):
            numbers, size = BLOCKS[row.scheme]
            assert row.bytes * numbers == prod(row.shape) * size


def test_the_table_has_its_own_precision(sub: SubModel) -> None:
    rows = {row.name: row for row in plan_tensors(sub, Target.GGUF, "f16", "q8_0")}
    assert (rows[TABLE].scheme, rows[TABLE].reason) == ("q8_0", "--table-precision q8_0")
    assert rows["layers.0.mlp.up_proj.weight"].scheme == "f16"


def test_narrow_rows_fall_back_and_say_so(sub: SubModel) -> None:
    rows = {row.name: row for row in plan_tensors(sub, Target.GGUF, "q4_k_m", None)}
    up = rows["layers.1.mlp.up_proj.weight"]
    assert (up.scheme, up.reason) == (
        "q5_0",
        "precision q4_k_m; rows of 64 are no multiple of 256: q5_0 for q4_k",
    )


def test_hf_has_one_precision(sub: SubModel) -> None:
    with pytest.raises(UsageError, match="target hf stores all tensors in one precision: got f32 and a table in f16"):
        plan_tensors(sub, Target.HF, "f32", "f16")


def test_rows_with_peaks_get_blocks_and_the_plan_says_why() -> None:
    """The demo's first value projection is nearly a permutation: one large number a row."""
    demo = cut(open_checkpoint("demo"), SubModelSpec.parse("L2-D256"))
    rows = {row.name: row for row in plan_tensors(demo, Target.ONNX, "int8", None)}
    value, other = rows["layers.0.self_attn.v_proj.weight"], rows["layers.1.self_attn.v_proj.weight"]
    assert (value.scheme, value.block) == ("int8_b32", 32)
    assert value.reason == (
        "precision int8; rows of self_attn.v_proj have peaks, one scale a row would cost 3.5% of them: "
        "in blocks, each with its own scale"
    )
    # One product with the value projection
    assert rows["layers.0.self_attn.q_proj.weight"].scheme == "int8_b32"
    assert (other.scheme, other.block) == ("int8", 256)
