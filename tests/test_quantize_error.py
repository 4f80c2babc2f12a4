"""The table's error row by row, against what the written file gives back to gguf-py and to ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from mlexport import export
from mlexport.checkpoint import open_checkpoint
from mlexport.model import TABLE
from mlexport.quantize.error import table_error
from mlexport.quantize.plan import plan_tensors
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.tiny import make_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", hidden=256, mlp=64, rank=64)


def gguf_table(file: Path) -> np.ndarray:
    tensor = next(tensor for tensor in gguf.GGUFReader(file).tensors if tensor.name == "token_embd.weight")
    return gguf.dequantize(tensor.data, tensor.tensor_type)


def onnx_table(file: Path, columns: int) -> np.ndarray:
    """The rows that come out of the lookup when every id stands in the text."""
    model = onnx.load(file)
    restored = "embed_tokens/Mul"
    model.graph.output.append(onnx.helper.make_tensor_value_info(restored, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.arange(16384, dtype=np.int64).reshape(256, 64)
    [found] = session.run([restored], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return found.reshape(16384, -1)[:, :columns]


@pytest.mark.parametrize(
    ("target", "precision", "table"),
    [
        ("gguf", "q8_0", None),
        ("gguf", "q4_k_m", None),
        ("gguf", "q8_0", "q4_0"),
        ("gguf", "f16", None),
        ("onnx", "int8", None),
        ("onnx", "int8", "int4_b32"),
    ],
)
@pytest.mark.parametrize("spec", ["L1-D256", "L1-R64-D256"])
def test_the_error_is_that_of_the_file(
    folder: Path, tmp_path: Path, spec: str, *, target: str, precision: str, table: str | None
) -> None:
    sub = cut(open_checkpoint(str(folder)), SubModelSpec.parse(spec), allow_untrained=True)
    plan = plan_tensors(sub, Target(target), precision, table)
    found = table_error(sub, Target(target), plan)
    assert found is not None
    name = export.load(Target(target)).write(sub, plan, tmp_path, lambda _: None)
    kept = sub.factors[0] if target == "onnx" and sub.factors is not None else sub.tensors[TABLE]
    rows = kept.read()
    stored = gguf_table(tmp_path / name) if target == "gguf" else onnx_table(tmp_path / name, rows.shape[1])
    errors = np.linalg.norm(stored - rows, axis=1) / np.linalg.norm(rows, axis=1)
    assert found.mean == pytest.approx(errors.mean(), rel=1e-3)
    assert found.max == pytest.approx(errors.max(), rel=1e-3)
    assert found.max > found.mean > 0


def test_f32_has_no_error(folder: Path) -> None:
    sub = cut(open_checkpoint(str(folder)), SubModelSpec.parse("L1-D64"))
    assert table_error(sub, Target.GGUF, plan_tensors(sub, Target.GGUF, "f32", None)) is None
