"""Where artifacts lie, and what tasks of several machines share: a folder, or any store that fsspec knows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlexport.artifact import MANIFEST
from mlexport.errors import UsageError

Arrays = Mapping[str, NDArray[Any]]


class Store:
    """Files by name under a URL such as "s3://bucket/sweep", "memory://sweep", "file:///mnt/sweep", or a folder.

    A file is written under another name first and then renamed, where the store can rename: readers find all of it or
    nothing.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # noqa: PLC0415

        try:
            self.files, self.root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"--store {url}: {' '.join(str(error).split())}") from None
        self.url = url

    def where(self, name: str) -> str:
        """The URL of a name, or its path in a folder."""
        return f"{self.url.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        return bool(self.files.exists(self._path(name)))

    def read(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The arrays that `write` put there; None where there are none, or they are damaged."""
        try:
            data = self.files.cat_file(self._path(name))
            with np.load(BytesIO(data), allow_pickle=False) as found:
                return dict(found)
        except (OSError, ValueError, EOFError):
            return None

    def write(self, name: str, arrays: Arrays) -> None:
        """Put arrays there, whole."""
        buffer = BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        path, partial = self._path(name), self._path(f"{name}.{id(arrays)}.partial")
        self.files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self.files.pipe_file(partial, buffer.getvalue())
        self.files.mv(partial, path)

    def put(self, folder: Path, name: str) -> str:
        """Copy a folder there, its manifest last; where it lies."""
        path = self._path(name)
        with suppress(FileNotFoundError):
            self.files.rm(path, recursive=True)
        files = (file for file in folder.rglob("*") if file.is_file())
        for file in sorted(files, key=lambda file: (file.name == MANIFEST, file)):
            to = f"{path}/{file.relative_to(folder).as_posix()}"
            self.files.makedirs(to.rsplit("/", 1)[0], exist_ok=True)
            self.files.put_file(str(file), to)
        return self.where(name)

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""
        with suppress(FileNotFoundError):
            self.files.rm(self._path(name), recursive=True)

    def folder(self) -> Path | None:
        """The folder it is, where it is one of this machine."""
        return Path(self.root) if "file" in _protocols(self.files) else None

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"


def _protocols(files: Any) -> tuple[str, ...]:
    protocol = files.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


@cache
def open_store(url: str) -> Store:
    """A store, opened once in a process."""
    return Store(url)


@cache
def own_scratch() -> Path:
    """A folder that ends with this process."""
    import atexit  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="mlexport-sweep-"))
    remove: Callable[[], None] = lambda: shutil.rmtree(folder, ignore_errors=True)  # noqa: E731
    atexit.register(remove)
    return folder
