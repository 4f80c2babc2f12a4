"""What a manifest says about vectors: how they are stored, and what an artifact keeps of the full model with them."""

from __future__ import annotations

from dataclasses import dataclass

from mlexport.spec import VectorPrecision


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVectors:
    """How a user of an artifact stores its vectors.

    Attributes:
        precision: "f32", "int8" or "binary".
        range: end of the int8 range, [-range, range]; None for others.
        calibrated: from which texts the range is, in words; empty where there is none.
    """

    precision: str = VectorPrecision.F32.value
    range: float | None = None
    calibrated: str = ""

    @property
    def output(self) -> str | None:
        """Name of the output of a graph that gives such vectors beside its float32 ones."""
        return _OUTPUTS.get(self.precision)


# uint8 with eight signs in each is what sentence-transformers calls ubinary
_OUTPUTS = {"int8": "sentence_embedding_int8", "binary": "sentence_embedding_ubinary"}


FLOAT_VECTORS = StoredVectors()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and the ends of its 95% interval; all None where it is not defined (a ratio to zero)."""

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Estimate(value=None, low=None, high=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRetention:
    """A way to store vectors, and what retrieval keeps of the full model's nDCG@10 with it.

    Attributes:
        comparison: how a query is compared with what is stored.
        bytes: of one stored vector.
        range: end of the int8 range; None for others.
    """

    dim: int
    precision: str
    comparison: str
    bytes: int
    range: float | None
    ndcg: Estimate
    retained: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What `slice --eval` measured of one model file; see `mlexport.evaluate.retention.Retention`.

    Attributes:
        data: the retrieval set, "builtin".
        reference: what ran the full model, with versions.
        stored: the vectors as the manifest says that they are stored; empty for f32.
    """

    data: str
    documents: int
    queries: int
    reference: str
    full_ndcg: Estimate
    ndcg: Estimate
    retained_ndcg: Estimate
    retained_recall: Estimate
    overlap: Estimate
    correlation: Estimate
    stored: tuple[StoredRetention, ...]
    notes: tuple[str, ...]
