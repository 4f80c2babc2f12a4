"""Write a pack: gather what goes in, copy it beside the target, hash it, put it in place, and check it there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution, version
from pathlib import Path

from mlexport.artifact import Artifact, FileEntry, Variant, read_artifact, sha256
from mlexport.commit import Kind, building, check_target, require_space
from mlexport.errors import ArtifactError, UsageError
from mlexport.licence import Licence, read_licence
from mlexport.pack.check import PackCheck, check_pack
from mlexport.pack.manifest import (
    FORMAT_VERSION,
    MODEL_FACTS,
    MODEL_FOLDER,
    PACK,
    TOKENIZER,
    ModelFacts,
    PackManifest,
    Tokens,
    Vectors,
    Verification,
    as_json,
)
from mlexport.pack.platform import Kit, Platform, choose, find_platform
from mlexport.spec import SubModelSpec

PACK_KIND = Kind(noun="a pack", manifest=PACK)
SAMPLES = Path(__file__).parent / "samples"
SAMPLE_LICENCE = "Apache-2.0"
_LICENCE_FILE = "LICENSE-mlexport.txt"
_MODULES = "node_modules"
# Samples and manifests, above the model
_SPARE_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class PackResult:
    """A pack that was written and checked; `next` is the command to try in its folder."""

    check: PackCheck
    facts: ModelFacts
    next: str


def write_pack(
    artifact: Path | str,
    platform: str,
    *,
    out: Path | None = None,
    variant: str | None = None,
    runtime: Path | None = None,
    force: bool = False,
) -> PackResult:
    """Write a folder with an artifact's model and a sample for a platform.

    Args:
        artifact: folder that `mlexport slice` wrote; it is not changed.
        platform: "android", "ios", "node", "python" or "web".
        out: folder of the pack; None puts it beside the artifact, as `ARTIFACT-PLATFORM`.
        variant: one of the artifact's model files; None takes the first that the platform runs.
        runtime: a node_modules folder whose runtime is copied into the pack (web), in the versions the sample names.
        force: replace a pack at `out`.

    Raises:
        UsageError: an unknown platform, or one that cannot run the artifact; the message says how to make another.
        ArtifactError: not an artifact, a damaged one, or no such variant.
        ExportError: `out` exists or cannot be written, or the disk is full.
    """
    chosen = find_platform(platform)
    source = read_artifact(Path(artifact))
    kit, packed = choose(chosen, source.manifest, variant)
    facts = model_facts(source, packed, kit)
    _require_loadable(chosen, facts)
    target = out or source.folder.with_name(f"{source.folder.resolve().name}-{platform}")
    copied = {} if runtime is None else dict(_runtime_files(chosen, kit, runtime))
    needed = facts.bytes + sum(path.stat().st_size for path in copied.values()) + _SPARE_BYTES
    check_target(target, force=force, kind=PACK_KIND)
    require_space(target, needed)
    with building(target, needed_bytes=needed, force=force, kind=PACK_KIND) as build:
        _copy_model(source, packed, kit, build.folder / MODEL_FOLDER)
        (build.folder / MODEL_FOLDER / MODEL_FACTS).write_text(as_json(facts), encoding="utf-8")
        for folder in kit.samples:
            shutil.copytree(SAMPLES / folder, build.folder, dirs_exist_ok=True)
        for place, path in copied.items():
            _copy(path, build.folder / place)
        licence = _copy_licences(source, build.folder)
        manifest = _manifest(
            chosen,
            kit=kit,
            artifact=source,
            variant=packed,
            facts=facts,
            licence=licence,
            files=build.entries(),
            carried=bool(copied),
        )
        build.seal(PACK, as_json(manifest))
    return PackResult(check=check_pack(target), facts=facts, next=kit.next_carried if copied else kit.next)


def model_facts(artifact: Artifact, variant: Variant, kit: Kit) -> ModelFacts:
    """What the pack's model.json says."""
    manifest, text = artifact.manifest, artifact.text
    files = _model_files(artifact, variant)
    return ModelFacts(
        name=manifest.model,
        revision=manifest.revision,
        cut=manifest.spec,
        target=manifest.target,
        precision=variant.precision,
        takes=variant.takes,
        file=Path(variant.model_file).name,
        bytes=sum(entry.bytes for entry in files),
        dim=SubModelSpec.parse(manifest.spec).dim,
        tokens=Tokens(max_length=text.max_length, end_id=text.end_id, end_token=text.end_token, pad_id=text.pad_id),
        prompts=dict(text.prompts),
        vectors=Vectors(
            precision=manifest.vectors.precision,
            range=manifest.vectors.range,
            output=manifest.vectors.output if kit.stored_output else None,
        ),
    )


def _model_files(artifact: Artifact, variant: Variant) -> list[FileEntry]:
    """A variant's model file, and the data that lies beside it under its name."""
    stem = Path(variant.model_file).with_suffix("")
    return [entry for entry in artifact.manifest.files if Path(entry.path).with_suffix("") == stem]


def _require_loadable(platform: Platform, facts: ModelFacts) -> None:
    if platform.largest_model is not None and facts.bytes > platform.largest_model:
        raise UsageError(
            f"{platform.name} loads a model of at most {platform.largest_model:,} bytes, {facts.file} has "
            f"{facts.bytes:,}: make a smaller cut, or --precision int8 or int4"
        )


def _runtime_files(platform: Platform, kit: Kit, modules: Path) -> Iterator[tuple[str, Path]]:
    """Place in the pack -> file of the runtime, in the versions that the sample names."""
    if not platform.runtime_files:
        raise UsageError(f"--runtime is for web alone: {platform.name}'s runtime comes from its package manager")
    for package, files in platform.runtime_files.items():
        folder, wanted = modules / package, kit.runtime[package]
        found = _installed(folder)
        if found != wanted:
            raise UsageError(
                f"{folder} has version {found}, the sample needs {wanted}: run `npm install {package}@{wanted}` there"
                if found
                else f"{folder} is not there: run `npm install {package}@{wanted}`, and pass its node_modules"
            )
        for name in files:
            if not (folder / name).is_file():
                raise UsageError(f"{folder / name} is missing: run `npm install {package}@{wanted}` again")
            yield f"{_MODULES}/{package}/{name}", folder / name


def _installed(folder: Path) -> str | None:
    """Version of an installed npm package; None where there is none."""
    try:
        found = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


def _copy_model(artifact: Artifact, variant: Variant, kit: Kit, folder: Path) -> None:
    wanted = _model_files(artifact, variant)
    if kit.tokenizer:
        wanted += [entry for entry in artifact.manifest.files if entry.path == TOKENIZER]
    for entry in wanted:
        place = folder / Path(entry.path).name
        _copy(artifact.folder / entry.path, place)
        if sha256(place) != entry.sha256:
            raise ArtifactError(
                f"{artifact.folder / entry.path} changed since it was written: its sha256 is not the manifest's. "
                "Make the artifact again"
            )


def _copy(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)


def _copy_licences(artifact: Artifact, folder: Path) -> Licence:
    """The samples' licence text, and the model's as far as the artifact carries it."""
    text = distribution("mlexport").read_text("licenses/LICENSE")
    if text is not None:
        (folder / _LICENCE_FILE).write_text(text, encoding="utf-8")
    licence = read_licence(artifact.folder)
    for name in licence.files:
        _copy(artifact.folder / name, folder / MODEL_FOLDER / name)
    return licence


def _manifest(
    platform: Platform,
    *,
    kit: Kit,
    artifact: Artifact,
    variant: Variant,
    facts: ModelFacts,
    licence: Licence,
    files: tuple[FileEntry, ...],
    carried: bool,
) -> PackManifest:
    report = variant.verification
    notes = [*platform.notes(facts, variant), *artifact.manifest.untrained]
    if report.status != "passed":
        notes.append("the vectors were not compared with the reference: run `mlexport verify` on the artifact")
    if licence == Licence():
        notes.append(f"the checkpoint {facts.name} names no licence: ask its authors before you ship it")
    return PackManifest(
        format_version=FORMAT_VERSION,
        tool=f"mlexport {version('mlexport')}",
        platform=platform.name,
        model=facts.name if facts.revision is None else f"{facts.name}@{facts.revision}",
        cut=facts.cut,
        target=facts.target,
        precision=facts.precision,
        runtime=dict(sorted(kit.runtime.items())),
        carried=carried,
        licence=licence,
        sample_licence=SAMPLE_LICENCE,
        verification=Verification(
            status=report.status,
            texts=report.texts,
            mean_cosine=report.mean_cosine,
            min_cosine=report.min_cosine,
            reference=report.reference,
        ),
        notes=tuple(notes),
        files=files,
    )
