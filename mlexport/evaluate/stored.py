"""How a user stores vectors: float32, int8 of one range, or a bit a number; and how each is compared.

int8 has one symmetric range for all numbers of a vector, so that the dot product of two codes is the vectors' cosine
up to a factor: every vector database compares such codes as they are, and a shorter vector's code is the code's
beginning. Binary keeps signs, packed most significant bit first (as numpy.packbits, FAISS and sentence-transformers
have them); two of them are compared by Hamming distance, or the stored one with the query's own floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlexport.errors import UsageError
from mlexport.evaluate.retrieval import DECIMALS, Float64, Scorer
from mlexport.spec import VectorPrecision
from mlexport.tensors import Float32

_INT8_LARGEST = 127
# Ends of the range that are tried, as shares of the largest number seen
_CLIPS = np.linspace(0.3, 1.0, 71)
_BITS = 8


class Comparison(StrEnum):
    """How a query is compared with stored vectors."""

    COSINE = "cosine"
    HAMMING = "hamming"
    FLOAT_QUERY = "float query"


def bytes_per_vector(precision: VectorPrecision, dim: int) -> int:
    """Bytes of one stored vector."""
    return {VectorPrecision.F32: 4 * dim, VectorPrecision.INT8: dim, VectorPrecision.BINARY: -(-dim // _BITS)}[
        precision
    ]


def truncated(vectors: Float32, dim: int) -> Float32:
    """The first `dim` numbers, L2-normalised again, float32 [vectors, dim]."""
    short = vectors[:, :dim]
    norms = np.linalg.norm(short, axis=1, keepdims=True)
    found: Float32 = short / np.maximum(norms, np.finfo(np.float32).tiny)
    return found


def calibrate_range(vectors: Float32) -> float:
    """The end of the int8 range, [-range, range]: of 71 ends up to the largest number, the one that loses least.

    Loss is the sum of squared differences to what int8 gives back. Clipping the rarest numbers makes every step
    smaller; where they are too many or too large it stops paying off.

    Args:
        vectors: float32 [vectors, dim] of ordinary texts; those that are not finite are left out.

    Raises:
        UsageError: no vector is finite, or all are zero.
    """
    usable = vectors[np.isfinite(vectors).all(axis=1)]
    largest = float(np.abs(usable).max(initial=0.0))
    if largest == 0:
        raise UsageError("the int8 range cannot be calibrated: no vector is finite and other than zero")
    ends = [float(share * largest) for share in _CLIPS]
    losses = [float(np.square(usable - from_int8(to_int8(usable, end), end), dtype=np.float64).sum()) for end in ends]
    return ends[int(np.argmin(losses))]


def to_int8(vectors: Float32, end: float) -> NDArray[np.int8]:
    """Codes, int8 [vectors, dim]: round(x · 127 / end), half to even, numbers past the range at its ends."""
    scaled = np.rint(np.nan_to_num(vectors) * np.float32(_INT8_LARGEST / end))
    codes: NDArray[np.int8] = np.clip(scaled, -_INT8_LARGEST, _INT8_LARGEST).astype(np.int8)
    return codes


def from_int8(codes: NDArray[np.int8], end: float) -> Float32:
    """The numbers that codes stand for, float32."""
    return codes.astype(np.float32) * np.float32(end / _INT8_LARGEST)


def to_binary(vectors: Float32) -> NDArray[np.uint8]:
    """Signs, uint8 [vectors, ceil(dim / 8)]: bit 1 where the number is above 0; the last byte is filled with zeros."""
    return np.packbits(vectors > 0, axis=1)


def from_binary(bits: NDArray[np.uint8], dim: int) -> Float32:
    """1 and -1, float32 [vectors, dim]."""
    return np.unpackbits(bits, axis=1, count=dim).astype(np.float32) * 2 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A choice of vector: length, precision, comparison; the end of an int8 range that is calibrated already."""

    dim: int
    precision: VectorPrecision
    comparison: Comparison
    range: float | None = None

    @property
    def bytes(self) -> int:
        """Bytes of one stored vector."""
        return bytes_per_vector(self.precision, self.dim)


# Ways to compare vectors of each precision, the usual one first
COMPARISONS = {
    VectorPrecision.F32: (Comparison.COSINE,),
    VectorPrecision.INT8: (Comparison.COSINE,),
    VectorPrecision.BINARY: (Comparison.HAMMING, Comparison.FLOAT_QUERY),
}


def scorer(asked: Float32, stored: Float32, storage: Storage, end: float | None) -> Scorer:
    """Similarities of vectors `asked` to vectors `stored`, as a device computes them from what it has stored.

    Args:
        asked, stored: float32 [vectors, at least `storage.dim`], as the model gives them.
        end: of the int8 range; needed for int8 alone.
    """
    asked, stored = truncated(asked, storage.dim), truncated(stored, storage.dim)
    if storage.precision == VectorPrecision.INT8:
        if end is None:
            raise ValueError("int8 needs its range")
        asked, stored = (from_int8(to_int8(side, end), end) for side in (asked, stored))
    elif storage.precision == VectorPrecision.BINARY:
        stored = from_binary(to_binary(stored), storage.dim)
        if storage.comparison == Comparison.HAMMING:
            asked = from_binary(to_binary(asked), storage.dim)
    return cosine_scorer(asked, stored)


def cosine_scorer(asked: Float32, stored: Float32) -> Scorer:
    """Cosines, float64 and rounded so that equal vectors tie wherever they stand in the matrix."""
    left, right = _unit(asked), _unit(stored)

    def score(places: NDArray[np.int64]) -> Float64:
        found: Float64 = np.round(left[places] @ right.T, DECIMALS)
        return found

    return score


def _unit(vectors: NDArray[Any]) -> Float64:
    wide = vectors.astype(np.float64)
    unit: Float64 = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return unit
