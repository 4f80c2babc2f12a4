"""An artifact: a folder with the model's files and, written last, its manifest `mlexport.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from mlexport.decode import decode, read_object
from mlexport.errors import ArtifactError
from mlexport.facts import AutoFacts, CalibrationFacts, CompiledFacts, DeviceCheck, TableError
from mlexport.kept import SplitChange, VocabularyReport
from mlexport.model import TextFacts
from mlexport.retained import RetentionReport, StoredVectors

MANIFEST = "mlexport.json"
FORMAT_VERSION = 2
# A manifest lists a few hundred tensors; anything larger is not one
_MANIFEST_LIMIT_BYTES = 16 * 2**20
# What a model file takes
IDS, TEXT = "ids", "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """What happens to one tensor, and why: a row of the printed plan.

    Attributes:
        name: name in transformers.
        shape: rows, columns.
        scheme: the format's own type: f32, f16, bf16, q8_0, q6_k, …
        bytes: exact bytes of its data in the file.
        reason: why this scheme.
        block: numbers of a row that share a scale; None where there are no scales.
        symmetric: whether zero is a level, and no offset stands beside the scale; None where there are no scales.
    """

    name: str
    shape: tuple[int, ...]
    scheme: str
    bytes: int
    reason: str
    block: int | None = None
    symmetric: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Vectors of the artifact against the reference.

    Attributes:
        status: "passed", "failed" or "off".
        mode, texts: "full", "sample" or "off", and the number of texts compared.
        mean_cosine, min_cosine: over the texts; None when off.
        threshold: what mean and minimum had to reach: {"mean": …, "min": …}.
        worst_text: the text with the lowest cosine, cut to 80 characters.
        token_mismatches: texts whose ids differ from the original tokenizer's.
        largest_residual: the largest |number| between two layers of the reference, over the texts; None when off.
            f16 ends at 65,504.
        reference: what the vectors were compared to, with versions.
        not_checked: what this run did not check, a sentence each.
        split_change: texts that are split otherwise; None without a vocabulary slice, or when off.
    """

    status: str
    mode: str
    texts: int
    mean_cosine: float | None
    min_cosine: float | None
    threshold: Mapping[str, float]
    worst_text: str
    token_mismatches: int
    largest_residual: float | None
    reference: str
    not_checked: tuple[str, ...]
    split_change: SplitChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of the artifact: path relative to its folder, bytes, sha256 in hex."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One model file of an artifact.

    Attributes:
        precision: the format's own name.
        table_precision: as asked for; None where the precision decides the table's scheme, which the plan shows.
        takes: "ids" (with a mask; GGUF: what llama.cpp makes of a text), or "text" (the tokenizer inside).
        model_file: what a runtime opens, relative to the folder; "." for hf.
        sizes: `layers`, `dim`, `table_parameters`, `body_parameters`, `table_bytes`, `body_bytes`.
        table_error: what quantising cost the token table; None where it is exact, or was not verified.
        retention: what it keeps of the full model; None without `--eval`.
        calibration: what it was rounded on; None where each number was rounded by itself.
        auto: how its mixture of precisions was chosen; None for a precision that was named.
        compiled: with what it was compiled, and for which chip; None for files that a runtime compiles.
        device: its operators against a device profile, if asked for.
    """

    precision: str
    table_precision: str | None
    takes: str
    model_file: str
    sizes: Mapping[str, int]
    plan: tuple[TensorPlan, ...]
    table_error: TableError | None
    verification: VerifyReport
    retention: RetentionReport | None
    calibration: CalibrationFacts | None = None
    auto: AutoFacts | None = None
    compiled: CompiledFacts | None = None
    device: DeviceCheck | None = None

    @property
    def name(self) -> str:
        """What `--variant` calls it."""
        return variant_name(self.precision, self.takes)


def variant_name(precision: str, takes: str) -> str:
    """The precision, with "-text" behind it where the tokenizer is inside."""
    return precision if takes == IDS else f"{precision}-{takes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """mlexport.json as data: one cut in one format, in one precision or several.

    source: what opens the checkpoint again: "demo", a hub id with its revision, or the folder it was read from.
    before: sizes of the checkpoint, as `Variant.sizes`.
    text: TextFacts as a mapping.
    vocabulary: what a vocabulary slice left; None without one.
    vectors: how a user stores what it gives; one choice for all variants, whose stored vectors then fit together.
    variants: at least one; the first is opened when nothing else is said.
    """

    format_version: int
    tool: str
    model: str
    revision: str | None
    source: str
    spec: str
    target: str
    hidden: int
    text: Mapping[str, object]
    before: Mapping[str, int]
    untrained: tuple[str, ...]
    notes: tuple[str, ...]
    vectors: StoredVectors
    vocabulary: VocabularyReport | None = None
    variants: tuple[Variant, ...]
    files: tuple[FileEntry, ...]

    def variant(self, name: str | None = None) -> Variant:
        """The variant of a name; the first without one.

        Raises:
            ArtifactError: no such variant.
        """
        if name is None:
            return self.variants[0]
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise ArtifactError(f"this artifact has no variant '{name}': choose from {names}")

    def shipped(self, variant: Variant) -> tuple[FileEntry, ...]:
        """A variant's files and those that belong to no other one: what a user of it ships."""
        return shipped_files(self.files, variant.model_file, [other.model_file for other in self.variants])

    def shipped_bytes(self, variant: Variant) -> int:
        """Bytes of those files."""
        return sum(entry.bytes for entry in self.shipped(variant))


def shipped_files(files: Iterable[FileEntry], model_file: str, all_models: Iterable[str]) -> tuple[FileEntry, ...]:
    """A model file, what lies beside it under its name, and what belongs to no other model file."""
    others = {_stem(other) for other in all_models} - {_stem(model_file)}
    return tuple(entry for entry in files if _stem(entry.path) not in others)


def _stem(path: str) -> str:
    # An IR's .bin and an ONNX file's data lie beside it under its name
    return str(PurePosixPath(path).with_suffix("")) if path != "." else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A committed artifact on disk."""

    folder: Path
    manifest: Manifest

    @property
    def text(self) -> TextFacts:
        """Tokenizer facts of the manifest.

        Raises:
            ArtifactError: they are incomplete.
        """
        return cast(TextFacts, _strict(TextFacts, self.manifest.text, "text", self.folder / MANIFEST))


def is_artifact(folder: Path) -> bool:
    """Whether the folder has a manifest; it may still be a damaged artifact."""
    return (folder / MANIFEST).is_file()


def manifest_json(manifest: Manifest) -> str:
    """The text of mlexport.json."""
    return json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n"


def read_artifact(folder: Path) -> Artifact:
    """Read the manifest of `folder` and compare it with what lies there: names and sizes, not yet the contents.

    Raises:
        ArtifactError: no manifest, one of another version or form, or a file missing, of another size, or outside.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ArtifactError(f"{folder} {what}: expected the folder of an artifact, as `mlexport slice` writes it")
    if not is_artifact(folder):
        raise ArtifactError(f"{folder} is not an artifact: it has no {MANIFEST}. Make one with `mlexport slice`")
    data = _read_json(folder / MANIFEST)
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise ArtifactError(f"{folder / MANIFEST} has format_version {version!r}, this mlexport reads {FORMAT_VERSION}")
    artifact = Artifact(folder=folder, manifest=cast(Manifest, _strict(Manifest, data, "", folder / MANIFEST)))
    for entry in artifact.manifest.files:
        _check_file(folder, entry)
    if not artifact.manifest.variants:
        raise ArtifactError(f"{folder / MANIFEST} lists no variant. Make the artifact again")
    known = {".", *(entry.path for entry in artifact.manifest.files)}
    for variant in artifact.manifest.variants:
        if variant.model_file not in known:
            raise ArtifactError(f"{folder / MANIFEST}: model_file '{variant.model_file}' is not among its files")
    return artifact


def verify_files(artifact: Artifact, advance: Callable[[int], None] = lambda _: None) -> None:
    """Compare every file's sha256 with the manifest.

    Args:
        advance: called with the bytes of each file read.

    Raises:
        ArtifactError: a file's contents changed.
    """
    for entry in artifact.manifest.files:
        found = sha256(artifact.folder / entry.path)
        if found != entry.sha256:
            said = f"sha256 {found[:12]}…, the manifest says {entry.sha256[:12]}…. Make the artifact again"
            raise ArtifactError(f"{artifact.folder / entry.path} changed since it was written: {said}")
        advance(entry.bytes)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_object(path, _MANIFEST_LIMIT_BYTES, "a manifest of mlexport")
    except ValueError as error:
        raise ArtifactError(str(error)) from None


def _strict(cls: type, data: object, where: str, path: Path) -> object:
    try:
        return decode(cls, data, where)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from None


def _check_file(folder: Path, entry: FileEntry) -> None:
    """The entry names a file inside the folder, and its size is right."""
    path = PurePosixPath(entry.path)
    inside = folder.resolve()
    outside = path.is_absolute() or ".." in path.parts or "\\" in entry.path or ":" in entry.path
    if outside or not (folder / path).resolve().is_relative_to(inside):
        raise ArtifactError(f"{folder / MANIFEST} names a file outside its folder: '{entry.path}'")
    if not (folder / path).is_file():
        raise ArtifactError(f"{folder / path} is missing: the artifact is incomplete. Make it again")
    size = (folder / path).stat().st_size
    if size != entry.bytes:
        said = f"the manifest says {entry.bytes}. Make the artifact again"
        raise ArtifactError(f"{folder / path} has {size} bytes, {said}")
