"""Stored vectors against sentence-transformers' quantisation, SciPy's distances and plain cosines."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from scipy.spatial.distance import cdist
from sentence_transformers.util.quantization import quantize_embeddings

from mlexport.errors import UsageError
from mlexport.evaluate.stored import (
    COMPARISONS,
    Comparison,
    Storage,
    calibrate_range,
    from_binary,
    from_int8,
    scorer,
    to_binary,
    to_int8,
)
from mlexport.spec import VectorPrecision, parse_vectors
from mlexport.tensors import Float32


@pytest.fixture(scope="module")
def vectors() -> Float32:
    found = np.random.default_rng(0).normal(size=(200, 40)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def storage(precision: VectorPrecision, comparison: Comparison, dim: int = 40) -> Storage:
    return Storage(dim=dim, precision=precision, comparison=comparison)


def run_node(kind: str, *inputs: Any) -> Any:
    """One ONNX operator in its reference implementation."""
    node = onnx.helper.make_node(kind, ["x", "scale", "zero"], ["y"])
    [found] = ReferenceEvaluator(node).run(None, dict(zip(node.input, inputs, strict=True)))
    return found


def test_signs_are_packed_as_sentence_transformers_packs_them(vectors: Float32) -> None:
    bits = to_binary(vectors)
    assert (bits == quantize_embeddings(vectors, precision="ubinary")).all()
    assert (bits.dtype, bits.shape) == (np.uint8, (200, 5))
    assert (from_binary(bits, 40) == np.where(vectors > 0, 1, -1)).all()
    assert to_binary(vectors[:, :13]).shape == (200, 2)
    assert (from_binary(to_binary(vectors[:, :13]), 13) == np.where(vectors[:, :13] > 0, 1, -1)).all()


def test_int8_is_onnxs_quantize_linear(vectors: Float32) -> None:
    end = 0.8 * float(np.abs(vectors).max())
    codes = to_int8(vectors, end)
    scale, zero = np.float32(end / 127), np.int8(0)
    theirs = run_node("QuantizeLinear", vectors, scale, zero)
    # Past the range ONNX goes to -128; a symmetric code has no such number
    assert (codes == np.maximum(theirs, -127)).all()
    inside = np.abs(vectors) <= end
    assert 0.9 < inside.mean() < 1
    assert from_int8(codes, end)[inside] == pytest.approx(run_node("DequantizeLinear", theirs, scale, zero)[inside])
    assert to_int8(np.array([[9.0, -9.0, 0.0, np.nan]], dtype=np.float32), 1.0).tolist() == [[127, -127, 0, 0]]


def test_the_calibrated_range_loses_least(vectors: Float32) -> None:
    end = calibrate_range(vectors)

    def loss(other: float) -> float:
        return float(np.square(vectors - from_int8(to_int8(vectors, other), other)).sum())

    assert loss(end) <= min(loss(share * end) for share in (0.7, 0.9, 1.1, 1.3))
    # One number far out is clipped, instead of making every step eight times as large
    outlier = np.concatenate([vectors, np.zeros((1, 40), dtype=np.float32)])
    outlier[-1, 0] = 8 * np.abs(vectors).max()
    assert calibrate_range(outlier) < outlier[-1, 0]
    broken = vectors.copy()
    broken[0, 0] = np.nan
    assert calibrate_range(broken) == pytest.approx(calibrate_range(vectors[1:]))


def test_a_range_needs_numbers() -> None:
    with pytest.raises(UsageError, match="no vector is finite and other than zero"):
        calibrate_range(np.zeros((3, 4), dtype=np.float32))


def test_comparisons_are_scipys_distances(vectors: Float32) -> None:
    asked, kept = vectors[:7], vectors[7:]
    places = np.arange(7)
    plain = scorer(asked, kept, storage(VectorPrecision.F32, Comparison.COSINE), None)(places)
    assert plain == pytest.approx(1 - cdist(asked, kept, "cosine"), abs=1e-6)
    hamming = scorer(asked, kept, storage(VectorPrecision.BINARY, Comparison.HAMMING), None)(places)
    assert hamming == pytest.approx(1 - 2 * cdist(asked > 0, kept > 0, "hamming"), abs=1e-6)
    half = scorer(asked, kept, storage(VectorPrecision.BINARY, Comparison.FLOAT_QUERY), None)(places)
    assert half == pytest.approx(1 - cdist(asked, np.where(kept > 0, 1.0, -1.0), "cosine"), abs=1e-6)
    end = calibrate_range(kept)
    int8 = scorer(asked, kept, storage(VectorPrecision.INT8, Comparison.COSINE), end)(places)
    codes = [to_int8(side, end).astype(float) for side in (asked, kept)]
    assert int8 == pytest.approx(1 - cdist(*codes, "cosine"), abs=1e-6)
    assert int8 == pytest.approx(plain, abs=0.01)


def test_a_shorter_vector_is_the_beginning_normalised_again(vectors: Float32) -> None:
    found = scorer(vectors, vectors, storage(VectorPrecision.F32, Comparison.COSINE, dim=9), None)(np.arange(5))
    assert found == pytest.approx(1 - cdist(vectors[:5, :9], vectors[:, :9], "cosine"), abs=1e-6)


def test_bytes_of_a_vector() -> None:
    sizes = {p: Storage(dim=100, precision=p, comparison=COMPARISONS[p][0]).bytes for p in VectorPrecision}
    assert sizes == {"f32": 400, "int8": 100, "binary": 13}


def test_an_unknown_precision_is_refused() -> None:
    assert parse_vectors("INT8") == VectorPrecision.INT8
    with pytest.raises(UsageError, match="unknown vector precision 'int4': choose from f32, int8, binary"):
        parse_vectors("int4")
