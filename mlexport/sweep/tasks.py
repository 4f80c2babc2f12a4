"""What a sweep's tasks are and what they give back, as data that travels between processes and machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlexport.request import SliceRequest
from mlexport.results import Step
from mlexport.retained import RetentionReport
from mlexport.swept import LanguageShare

# Cuts of the same tensors in the same form: what is made once is the widest of them
BODY_AXES = ("layers", "rank", "vocab", "precision", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One artifact of a sweep; `precision` is the format's own name, the others are as in the recipe's grid."""

    layers: int
    rank: int | None
    vocab: str | None
    dim: int
    precision: str
    target: str

    @property
    def pair(self) -> Table:
        """The token table that it has."""
        return Table(rank=self.rank, vocab=self.vocab)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A token table: cuts with the same one share a reference, whatever their depth."""

    rank: int | None
    vocab: str | None

    @property
    def name(self) -> str:
        """For people and files' names."""
        rank = "stored table" if self.rank is None else f"rank {self.rank}"
        return rank if self.vocab is None else f"{rank}, vocabulary {self.vocab}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all cuts of a sweep have in common.

    Attributes:
        request: what `slice` is asked for, its axes aside.
        verify: "full" or "sample".
        retention: whether retrieval is measured.
        data, sample: the retrieval set, and how many of its queries.
        keep: whether artifacts stay.
        store: URL or folder where artifacts and what tasks share lie.
        identity: short, of all that numbers depend on beside a cut's axes.
    """

    request: SliceRequest
    verify: str
    retention: bool
    data: str
    sample: int | None
    keep: bool
    store: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FullTask:
    """The full model's vectors of the retrieval set."""

    settings: Settings

    @property
    def name(self) -> str:
        """For steps and messages."""
        return "full model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTask:
    """transformers' vectors of the probe texts at every depth, for some tables."""

    settings: Settings
    tables: tuple[Table, ...]
    depths: tuple[int, ...]

    @property
    def name(self) -> str:
        """For steps and messages."""
        return "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyTask:
    """Cuts that differ in dim alone: written, verified and evaluated as one.

    Attributes:
        cuts: the widest first.
        depths: all of the sweep, ascending: the order of its references.
    """

    settings: Settings
    cuts: tuple[Cut, ...]
    depths: tuple[int, ...]

    @property
    def name(self) -> str:
        """For steps and messages."""
        one = self.cuts[0]
        rank = "" if one.rank is None else f"-R{one.rank}"
        vocab = "" if one.vocab is None else f" [{one.vocab}]"
        return f"L{one.layers}{rank}{vocab} {one.target} {one.precision}"


Task = FullTask | ReferenceTask | BodyTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cut's numbers.

    Attributes:
        passed: whether the verification's thresholds are met; `reason` says what missed.
        file_sha256: of the file that a runtime opens (a folder's weights for hf).
        seconds: of what this cut alone needed.
        artifact: where it lies; None where it was not kept.
    """

    cut: Cut
    spec: str
    vocab_tokens: int | None
    planned_bytes: int
    bytes: int
    file_sha256: str
    passed: bool
    reason: str | None
    mean_cosine: float
    min_cosine: float
    retention: RetentionReport | None
    languages: tuple[LanguageShare, ...]
    seconds: float
    artifact: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a task gave: steps that were done now (not those found done), and a body's cuts."""

    steps: tuple[Step, ...]
    measured: Sequence[Measured] = ()
