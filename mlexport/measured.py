"""What `mlexport eval` returns, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlexport.evaluate.retention import Retention
from mlexport.results import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class FullModel:
    """What an evaluation compares with.

    Attributes:
        query_prompt: what was put before each query; None where the checkpoint names no query prompt.
        how: versions, and how its vectors were computed, in words.
        cache: whether they were "read" from the cache, "written" to it, "off", or it was "not writable".
    """

    model: str
    revision: str | None
    dim: int
    query_prompt: str | None
    how: str
    cache: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRetention:
    """One model file's row: what it is and what it keeps.

    Attributes:
        variant: which of the artifact's model files.
        bytes: of that file and of those that all variants share, the manifest aside.
        seconds: of embedding all texts.
    """

    folder: Path
    model: str
    spec: str
    target: str
    variant: str
    dim: int
    bytes: int
    seconds: float
    retention: Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `mlexport eval` measured; `notes` say what of the data was left out."""

    data: str
    split: str
    documents: int
    queries: int
    notes: tuple[str, ...]
    seed: int
    full: FullModel
    artifacts: tuple[ArtifactRetention, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkScore:
    """One mteb task on one model.

    Attributes:
        label: the artifact's folder, or the full model's name.
        kind: the task's type, such as "Retrieval".
        measure: name of its main score, such as "ndcg_at_10".
        score: mean over its splits and subsets, as mteb reports it.
        splits: split -> mean over its subsets.
    """

    label: str
    task: str
    kind: str
    measure: str
    score: float
    splits: Mapping[str, float]
    mteb_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What `mlexport eval --mteb` measured; `against` is the full model, None where it was not run."""

    against: str | None
    scores: tuple[BenchmarkScore, ...]
    steps: tuple[Step, ...]
