"""Read a pack back: every file is there, inside the folder, and what pack.json says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from mlexport.artifact import FileEntry, sha256
from mlexport.decode import decode
from mlexport.errors import ArtifactError
from mlexport.pack.manifest import FORMAT_VERSION, PACK, PackManifest

# pack.json lists some dozens of files
_LIMIT_BYTES = 2**22
# What `npm install` and the like add, and pack.json need not list
_INSTALLED = "node_modules"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackCheck:
    """A pack whose files all are what pack.json says.

    Attributes:
        folder: where it lies.
        unlisted: files beside them, node_modules aside.
    """

    folder: Path
    manifest: PackManifest
    unlisted: tuple[str, ...]


def check_pack(folder: Path) -> PackCheck:
    """Compare every file of a pack with the sha256 in its pack.json.

    Raises:
        ArtifactError: not a pack, or a file is missing, changed, or outside the folder.
    """
    manifest = read_pack(folder)
    for entry in manifest.files:
        _check(folder, entry)
    listed = {PACK, *(entry.path for entry in manifest.files)}
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    unlisted = sorted(
        path.as_posix() for path in found if path.parts[0] != _INSTALLED and path.as_posix() not in listed
    )
    return PackCheck(folder=folder, manifest=manifest, unlisted=tuple(unlisted))


def read_pack(folder: Path) -> PackManifest:
    """pack.json of a folder.

    Raises:
        ArtifactError: there is none, or it is of another form.
    """
    path = folder / PACK
    if not path.is_file():
        raise ArtifactError(
            f"{folder} is not a pack: it has no {PACK}. Make one with `mlexport pack ARTIFACT --for web`"
        )
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise ArtifactError(f"{path} is {path.stat().st_size:,} bytes long: not a pack's")
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.get("format_version") if isinstance(data, dict) else None
        if version != FORMAT_VERSION:
            raise ArtifactError(f"{path} has format_version {version!r}, this mlexport reads {FORMAT_VERSION}")
        return cast(PackManifest, decode(PackManifest, data, ""))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} cannot be read: {' '.join(str(error).split())}. Make the pack again") from None


def _check(folder: Path, entry: FileEntry) -> None:
    path = PurePosixPath(entry.path)
    outside = path.is_absolute() or ".." in path.parts or "\\" in entry.path or ":" in entry.path
    if outside or not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{folder / PACK} names a file outside its folder: '{entry.path}'")
    if not (folder / path).is_file():
        raise ArtifactError(f"{folder / path} is missing: the pack is incomplete. Make it again")
    found = sha256(folder / path)
    if found != entry.sha256:
        raise ArtifactError(
            f"{folder / path} changed since it was packed: sha256 {found[:12]}…, {PACK} says {entry.sha256[:12]}…. "
            "Make the pack again with --force"
        )
