"""Build an artifact beside its target and swap it in whole, or leave nothing.

The folder grows as `.NAME.<random>.partial` under the lock `.NAME.lock`; a killed run loses its lock with its
process, so whoever holds the lock may remove every partial folder of that name.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlexport.artifact import MANIFEST, Artifact, FileEntry, Manifest, manifest_json, sha256
from mlexport.errors import ExportError, UsageError

# No block left, over quota, over the limit of one file
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCKED = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)
# Some libraries turn the system's error into text of their own
_FULL_TEXT = ("no space left on device", "os error 28", "disk quota exceeded", "file too large")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a folder is, in words with "a" or "an", and the file that says so."""

    noun: str
    manifest: str


ARTIFACT = Kind(noun="an artifact", manifest=MANIFEST)


@dataclass(kw_only=True, slots=True)
class Build:
    """A folder on its way: write into `folder`, then call `commit` (of an artifact) or `seal` once.

    Attributes:
        folder: empty temporary folder beside the target.
        target: where the artifact will lie, as the caller named it.
        place: the same, absolute and without links.
        committed: whether `commit` came to its end.
    """

    folder: Path
    target: Path
    place: Path
    committed: bool = field(default=False)

    def commit(self, manifest: Manifest) -> Artifact:
        """Hash and sync the files, write the manifest last, and put the folder in the target's place.

        Args:
            manifest: complete but for `files`, which is filled in here.
        """
        complete = replace(manifest, files=self.entries())
        self.seal(MANIFEST, manifest_json(complete))
        return Artifact(folder=self.target, manifest=complete)

    def entries(self) -> tuple[FileEntry, ...]:
        """The files written so far, synced and hashed."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return tuple(_entry(path, self.folder) for path in files)

    def seal(self, name: str, manifest: str) -> None:
        """Write the manifest's text last, and put the folder in the target's place."""
        path = self.folder / name
        path.write_text(manifest, encoding="utf-8")
        _sync(path)
        _swap_in(self.folder, self.place)
        self.committed = True


@contextmanager
def building(target: Path, *, needed_bytes: int, force: bool = False, kind: Kind = ARTIFACT) -> Iterator[Build]:
    """A temporary folder that becomes `target` by `Build.commit`, and is removed however else the block ends.

    Args:
        target: folder of the artifact; it may exist if it is empty, or is an artifact and `force` is given.
        needed_bytes: bytes the artifact takes, for the message when the disk runs full.
        force: replace an existing artifact, which stays in place until the new one is complete.
        kind: what the folder will be; only that kind is replaced.

    Raises:
        UsageError: `target` has no name of its own, such as "/".
        ExportError: the target exists, is being written by another run, cannot be written, or the disk is full.
    """
    made: list[Path] = []
    try:
        place = target.resolve()
        if not place.name:
            raise UsageError(f"'{target}' cannot hold {kind.noun}: give --out a folder's name")
        _make_parents(place.parent, made)
        with locked(place):
            _recover(place)
            check_target(target, force=force, kind=kind)
            yield from _build(target, place)
    except OSError as error:
        raise _explain(error, target, needed_bytes) from error
    except Exception as error:
        if any(text in str(error).lower() for text in _FULL_TEXT):
            raise _full(target, needed_bytes, "No space left on device") from error
        raise
    finally:
        for folder in reversed(made):
            # Not empty after a success: then it stays
            with suppress(OSError):
                folder.rmdir()


def check_target(target: Path, *, force: bool, kind: Kind = ARTIFACT) -> None:
    """Refuse a target that holds something, unless it is of that kind and `force` is given.

    Raises:
        ExportError: it exists.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ExportError(f"{target} exists and is a file: choose another --out")
    if not any(target.iterdir()):
        return
    if not (target / kind.manifest).is_file():
        raise ExportError(f"{target} exists and is not {kind.noun}: choose another --out, or empty it yourself")
    if not force:
        raise ExportError(f"{target} exists: choose another --out, or pass --force to replace it")


def require_space(target: Path, needed_bytes: int) -> None:
    """Refuse before anything is written if the disk of `target` (which may not exist yet) has too little room.

    Raises:
        ExportError: too little room.
    """
    if shutil.disk_usage(_existing(target)).free < needed_bytes:
        raise _full(target, needed_bytes, "No space left on device")


def _build(target: Path, place: Path) -> Iterator[Build]:
    folder = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    build = Build(folder=folder, target=target, place=place)
    try:
        folder.mkdir()
        yield build
    finally:
        if not build.committed:
            shutil.rmtree(folder, ignore_errors=True)


def _entry(path: Path, folder: Path) -> FileEntry:
    _sync(path)
    return FileEntry(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=sha256(path))


def _sync(path: Path) -> None:
    # The data must be on the disk before a manifest says that it is
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _swap_in(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; an old artifact there is set aside first and removed last."""
    old = target.with_name(f".{target.name}.old")
    if target.exists():
        target.replace(old)
    try:
        folder.replace(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _recover(target: Path) -> None:
    """Clear what a killed run left; the lock is held, so none of it is in use."""
    old = target.with_name(f".{target.name}.old")
    if old.exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.replace(target)
    # The random part is matched exactly: `.a.*.partial` would also find those of a target named `a.b`
    leftover = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.partial")
    for path in target.parent.iterdir():
        if leftover.fullmatch(path.name):
            shutil.rmtree(path)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of a folder that is being written; it lies beside it, and is gone with the process that holds it.

    Raises:
        ExportError: another run holds it.
    """
    path = target.with_name(f".{target.name}.lock")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(descriptor)
            # The last holder may have removed the file between our open and our lock
            current = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
        except OSError as error:
            os.close(descriptor)
            if error.errno in _LOCKED:
                raise ExportError(f"another run is writing {target}: wait for it, or choose another --out") from None
            raise
        if current:
            break
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(descriptor: int) -> None:
    """Lock the open file for this process, without waiting; the system releases it even after SIGKILL."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl  # noqa: PLC0415

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _make_parents(folder: Path, made: list[Path]) -> None:
    """Create the folder and what is missing above it; `made` gets what was created, outermost first."""
    for path in [path for path in (folder, *folder.parents) if not path.exists()][::-1]:
        path.mkdir(exist_ok=True)
        made.append(path)


def _explain(error: OSError, target: Path, needed_bytes: int) -> ExportError:
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return _full(target, needed_bytes, reason)
    where = f" ({error.filename})" if error.filename is not None else ""
    return ExportError(f"cannot write {target}: {reason}{where}. Choose another --out")


def _full(target: Path, needed_bytes: int, reason: str) -> ExportError:
    free = shutil.disk_usage(_existing(target)).free
    return ExportError(
        f"cannot write {target}: {reason}: the artifact needs {needed_bytes:,} bytes, {free:,} are free. "
        "Make room, or choose another --out"
    )


def _existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.exists())
