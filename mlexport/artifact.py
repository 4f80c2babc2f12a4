"""An artifact: a folder with the model's files and, written last, its manifest `mlexport.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "mlexport.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """What happens to one tensor, and why: a row of the printed plan.

    Attributes:
        name: name in transformers.
        shape: rows, columns.
        scheme: the format's own type: f32, f16, bf16, q8_0, q6_k, …
        bytes: exact bytes of its data in the file.
        reason: why this scheme.
    """

    name: str
    shape: tuple[int, ...]
    scheme: str
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Vectors of the artifact against the reference.

    Attributes:
        status: "passed", "failed" or "off".
        mode: "full", "sample" or "off".
        texts: number of texts compared.
        mean_cosine, min_cosine: over the texts; None when off.
        threshold: what mean and minimum had to reach: {"mean": …, "min": …}.
        worst_text: the text with the lowest cosine, cut to 80 characters.
        token_mismatches: texts whose ids differ from the original tokenizer's.
        reference: what the vectors were compared to, with versions.
        not_checked: what this run did not check, a sentence each.
    """

    status: str
    mode: str
    texts: int
    mean_cosine: float | None
    min_cosine: float | None
    threshold: Mapping[str, float]
    worst_text: str
    token_mismatches: int
    reference: str
    not_checked: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of the artifact: path relative to its folder, bytes, sha256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """mlexport.json as data. `model_file` is the file (or folder, "." for hf) that a runtime opens.

    sizes: parameters and bytes before and after, keys `table_parameters`, `body_parameters`,
    `table_bytes`, `body_bytes`, each in `before` and `after`.
    text: TextFacts as a mapping.
    """

    format_version: int
    tool: str
    model: str
    revision: str | None
    spec: str
    target: str
    precision: str
    table_precision: str
    model_file: str
    hidden: int
    text: Mapping[str, object]
    sizes: Mapping[str, Mapping[str, int]]
    untrained: tuple[str, ...]
    notes: tuple[str, ...]
    plan: tuple[TensorPlan, ...]
    verification: VerifyReport
    files: tuple[FileEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A committed artifact on disk."""

    folder: Path
    manifest: Manifest
