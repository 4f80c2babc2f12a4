"""What the library's calls return, as data; `report` prints it, `pipeline` makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from mlexport.artifact import IDS, Artifact, TensorPlan, VerifyReport, variant_name
from mlexport.calibrate.texts import CalibrationTexts
from mlexport.facts import AutoFacts, CalibrationFacts
from mlexport.kept import VocabularyReport
from mlexport.model import TABLE, TABLE_LEFT, TABLE_RIGHT, Checkpoint, SubModel
from mlexport.quantize.mixed import Choice, Problem
from mlexport.request import Bound
from mlexport.search import Hit
from mlexport.spec import SubModelSpec, Target
from mlexport.vocabulary import Chosen

if TYPE_CHECKING:
    # A board that measures imports this module, and needs no reader of profiles
    from mlexport.profile import Profile

# Bytes of a number as stored in a checkpoint
_TABLES = (TABLE, TABLE_LEFT, TABLE_RIGHT)
_STORED_BYTES = {"bf16": 2, "f16": 2, "f32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Layers, numbers in a vector, and parameters and bytes of the token table and of all else (the body)."""

    layers: int
    dim: int
    table_parameters: int
    body_parameters: int
    table_bytes: int
    body_bytes: int

    @property
    def parameters(self) -> int:
        """Table and body together."""
        return self.table_parameters + self.body_parameters

    @property
    def bytes(self) -> int:
        """Table and body together."""
        return self.table_bytes + self.body_bytes


def checkpoint_sizes(checkpoint: Checkpoint) -> Sizes:
    """Sizes as stored, U and V aside: the folded table stands for them."""
    config = checkpoint.config
    tensors = [(t.name, t.size, t.size * _STORED_BYTES[t.stored]) for t in checkpoint.tensors.values()]
    return _sizes(config.layers, config.hidden, tensors)


def plan_sizes(spec: SubModelSpec, rows: Iterable[TensorPlan]) -> Sizes:
    """Sizes as planned."""
    return _sizes(spec.layers, spec.dim, [(row.name, prod(row.shape), row.bytes) for row in rows])


def _sizes(layers: int, dim: int, found: Sequence[tuple[str, int, int]]) -> Sizes:
    """Of tensors as (name, numbers, bytes)."""
    table = [(numbers, size) for name, numbers, size in found if name in _TABLES]
    body = [(numbers, size) for name, numbers, size in found if name not in _TABLES]
    return Sizes(
        layers=layers,
        dim=dim,
        table_parameters=sum(numbers for numbers, _ in table),
        body_parameters=sum(numbers for numbers, _ in body),
        table_bytes=sum(size for _, size in table),
        body_bytes=sum(size for _, size in body),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step that ended, and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """A choice of precision "auto", and what it was chosen from.

    Attributes:
        losses: tensor -> scheme -> 1 - mean cosine with only that tensor rounded.
    """

    bound: Bound
    losses: Mapping[str, Mapping[str, float]]
    problem: Problem
    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A tensor in a scheme: exact bytes, and 1 - mean cosine of the final vectors with only it rounded."""

    tensor: str
    scheme: str
    bytes: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What each tensor of a cut costs at each precision.

    Attributes:
        texts: what it was measured on.
        costs: tensors in the order of the model, schemes from the smallest.
    """

    model: str
    spec: str
    target: Target
    texts: CalibrationTexts
    costs: tuple[Cost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantPlan:
    """One model file before it is written.

    Attributes:
        precision, table_precision: the format's own names; the table's is None where the precision decides it.
        takes: IDS or TEXT, see `mlexport.artifact.Variant`.
        rows: one a tensor, exact.
        sizes: of the rows.
        mixture: what precision "auto" chose from.
        sub: the cut with matrices rounded on calibration text; None: the plan's own.
        calibration, auto: as in the manifest, once known.
    """

    precision: str
    table_precision: str | None
    takes: str
    rows: tuple[TensorPlan, ...]
    sizes: Sizes
    mixture: Mixture | None = None
    sub: SubModel | None = None
    calibration: CalibrationFacts | None = None
    auto: AutoFacts | None = None

    @property
    def name(self) -> str:
        """As the written variant will be called."""
        return variant_name(self.precision, self.takes)

    @property
    def precisions(self) -> list[str]:
        """Of the body, and of the table where it was asked for."""
        return [self.precision, *filter(None, [self.table_precision])]


def with_saved_bytes(chosen: Chosen, variants: Iterable[VariantPlan]) -> VocabularyReport:
    """The report, with the bytes that each variant's table would have more with every row.

    Exact: every scheme packs rows by themselves. A file that takes text has the table of the one that takes ids.
    """
    kept = chosen.kept
    saved = {
        variant.name: sum(
            row.bytes // kept.count * (kept.rows - kept.count)
            for row in variant.rows
            if row.name in (TABLE, TABLE_LEFT)
        )
        for variant in variants
        if variant.takes == IDS
    }
    return replace(chosen.report, bytes_saved=saved)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePlan:
    """One artifact before it is written: nothing of a tensor has been read.

    Attributes:
        source: what opens the checkpoint again, as in the manifest.
        variants: its model files.
        vocabulary: what a vocabulary slice leaves; None without one.
        out: folder it will lie in.
        steps: what planning took.
        texts: calibration texts, if asked for.
        profile: device profile that it must fit, if asked for.
    """

    source: str
    sub: SubModel
    target: Target
    variants: tuple[VariantPlan, ...]
    vocabulary: VocabularyReport | None
    out: Path
    steps: tuple[Step, ...]
    texts: CalibrationTexts | None = None
    profile: Profile | None = None

    @property
    def before(self) -> Sizes:
        """The checkpoint's sizes."""
        return checkpoint_sizes(self.sub.checkpoint)

    @property
    def bytes(self) -> int:
        """Bytes of all tensors of all variants."""
        return sum(variant.sizes.bytes for variant in self.variants)

    @property
    def label(self) -> str:
        """Cut, target and precisions in words, such as "L8-D128 gguf q8_0"."""
        return f"{self.sub.spec.name} {self.target} {', '.join(variant.name for variant in self.variants)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """A committed artifact, and the time of each step; load and cut are shared by the targets of one call."""

    artifact: Artifact
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSize:
    """A cut as an example of size: trained depths at the full width, in the default precision of `target`."""

    spec: str
    target: Target
    precision: str
    sizes: Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """What `inspect` tells of a checkpoint."""

    checkpoint: Checkpoint
    sizes: Sizes
    cuts: tuple[CutSize, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A query and the documents found for it, best first."""

    query: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Answers to several queries over one corpus.

    Attributes:
        corpus: file the documents came from.
        documents: their number.
        prompt: what was put before each query; None where the checkpoint names no query prompt.
    """

    corpus: Path
    documents: int
    prompt: str | None
    found: tuple[Found, ...]


def manifest_sizes(sizes: Mapping[str, int]) -> Sizes:
    """Sizes as a manifest keeps them."""
    return Sizes(**sizes)


def failure(report: VerifyReport) -> str:
    """What a failed verification found, in one line."""
    found = (
        f"cosine to the reference mean {report.mean_cosine:.5f}, min {report.min_cosine:.5f} "
        f"(needed {report.threshold['mean']}, {report.threshold['min']})"
    )
    return (
        f"{found}, other token ids in {report.token_mismatches} of {report.texts} texts; worst: {report.worst_text!r}"
    )
