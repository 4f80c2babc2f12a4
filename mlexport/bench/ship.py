"""What travels to a board: this package's own Python files, and the model files that are measured there."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mlexport import runtime
from mlexport.artifact import MANIFEST, Artifact, Variant, manifest_json, read_artifact
from mlexport.bench.request import BenchRequest, Contestant, request_json
from mlexport.spec import parse_target

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

REQUEST, RESULT, SITE = "request.json", "result.json", "site"
_PACKAGE = Path(__file__).parents[1]
# Texts of the workload
_DATA = ("data/evaluation/queries.jsonl",)
# What the runner imports, beside a target's runtime
_ALWAYS = ("numpy",)
# Module -> what pip calls it, as in pyproject.toml
REQUIREMENTS: Mapping[str, str] = {
    "numpy": "numpy>=2.0",
    "tokenizers": "tokenizers>=0.22",
    "llama_cpp": "llama-cpp-python>=0.3.16",
    "onnxruntime": "onnxruntime>=1.23",
    "onnxruntime_extensions": "onnxruntime-extensions>=0.15",
    "openvino": "openvino>=2025.3",
    "openvino_tokenizers": "openvino-tokenizers>=2025.3",
    "torch": "torch>=2.6",
    "transformers": "transformers>=5.0",
    "sentence_transformers": "sentence-transformers>=5.1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file that travels: its name there, and its contents or the file that has them."""

    name: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Bytes of it."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """Everything that a board needs.

    Attributes:
        entries: files, relative to one folder there.
        modules: what its Python must have.
    """

    entries: tuple[Entry, ...]
    modules: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(entry.size for entry in self.entries)

    def write(self, out: IO[bytes], advance: Callable[[int], None]) -> None:
        """As a tar archive into a stream.

        Args:
            advance: called with the bytes of each part that is written.
        """
        with tarfile.open(mode="w|", fileobj=_Counted(out, advance)) as archive:
            for entry in self.entries:
                member = tarfile.TarInfo(entry.name)
                member.size = entry.size
                with io.BytesIO(entry.source) if isinstance(entry.source, bytes) else entry.source.open("rb") as file:
                    archive.addfile(member, file)


def pack(request: BenchRequest) -> Shipment:
    """What `request` needs on another machine.

    Raises:
        ArtifactError: not an artifact, a damaged one, or no such variant.
    """
    entries, modules, contestants = [*_package()], dict.fromkeys(_ALWAYS), []
    # Two contestants may be the same file in other settings
    names: dict[tuple[str, str], str] = {}
    for one in request.contestants:
        artifact = read_artifact(Path(one.artifact))
        variant = artifact.manifest.variant(one.variant)
        key = (one.artifact, variant.name)
        if key not in names:
            names[key] = f"artifacts/{len(names)}"
            entries += _artifact(artifact, variant, names[key])
        modules |= dict.fromkeys(runtime.libraries(parse_target(artifact.manifest.target), variant.takes))
        contestants.append(_moved(one, names[key], variant))
    there = replace(request, contestants=tuple(contestants))
    entries.append(Entry(name=REQUEST, source=request_json(there).encode()))
    return Shipment(entries=tuple(entries), modules=tuple(modules))


def _moved(one: Contestant, folder: str, variant: Variant) -> Contestant:
    return replace(one, artifact=folder, variant=variant.name, shown=one.shown or one.artifact)


def _artifact(artifact: Artifact, variant: Variant, folder: str) -> Iterator[Entry]:
    """The variant's files, and a manifest that lists no others."""
    files = artifact.manifest.shipped(variant)
    manifest = replace(artifact.manifest, variants=(variant,), files=files)
    yield Entry(name=f"{folder}/{MANIFEST}", source=manifest_json(manifest).encode())
    for entry in files:
        yield Entry(name=f"{folder}/{entry.path}", source=artifact.folder / entry.path)


def _package() -> Iterator[Entry]:
    """The package without its demo, as if it were installed: code may ask for its version."""
    name = _PACKAGE.name
    for path in sorted(_PACKAGE.rglob("*.py")):
        yield Entry(name=f"{SITE}/{name}/{path.relative_to(_PACKAGE).as_posix()}", source=path)
    for data in _DATA:
        yield Entry(name=f"{SITE}/{name}/{data}", source=_PACKAGE / data)
    installed = version(name)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {installed}\n"
    yield Entry(name=f"{SITE}/{name}-{installed}.dist-info/METADATA", source=metadata.encode())


class _Counted(io.RawIOBase):
    """A stream that tells how much was written to it."""

    def __init__(self, out: IO[bytes], advance: Callable[[int], None]) -> None:
        self._out, self._advance = out, advance

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Buffer) -> int:
        """Write, and tell."""
        count = len(memoryview(data))
        self._out.write(data)
        self._advance(count)
        return count
