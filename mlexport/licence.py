"""The licence of a checkpoint: what its folder says, and what of that goes along with an artifact.

`licence.json` of an artifact has the name (as the head of the checkpoint's README.md gives it) and the names of the
licence files that lie beside it. It is left out where the checkpoint says nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import yaml

from mlexport.decode import decode
from mlexport.errors import ArtifactError

LICENCE = "licence.json"
_README = "README.md"
_FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*")
# A licence's text, and the head of a README, are shorter
_LIMIT_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """A checkpoint's licence.

    Attributes:
        name: as Hugging Face abbreviates it ("apache-2.0", "other"); None where the folder names none.
        link: where its text is, if the checkpoint says so.
        files: names of the licence files beside it.
    """

    name: str | None = None
    link: str | None = None
    files: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """In one line."""
        known = self.name or ("see " + ", ".join(self.files) if self.files else "unknown")
        return known if self.link is None else f"{known} ({self.link})"


UNKNOWN = Licence()


def find_licence(checkpoint: Path) -> Licence:
    """What a checkpoint's folder says: its licence files, and the head of its README.md."""
    found = {path.name for pattern in _FILES for path in checkpoint.glob(pattern)}
    files = tuple(sorted(name for name in found if _small(checkpoint / name)))
    head = _head(checkpoint / _README)
    name, own, link = (head.get(key) for key in ("license", "license_name", "license_link"))
    chosen = own if name == "other" and isinstance(own, str) else name
    return Licence(
        name=chosen if isinstance(chosen, str) else None, link=link if isinstance(link, str) else None, files=files
    )


def carry_licence(checkpoint: Path, folder: Path) -> None:
    """Copy a checkpoint's licence files into an artifact's folder, and write its licence.json."""
    licence = find_licence(checkpoint)
    if licence == UNKNOWN:
        return
    for name in licence.files:
        shutil.copyfile(checkpoint / name, folder / name)
    (folder / LICENCE).write_text(json.dumps(asdict(licence), indent=1) + "\n", encoding="utf-8")


def read_licence(folder: Path) -> Licence:
    """The licence that an artifact carries; `UNKNOWN` where it carries none.

    Raises:
        ArtifactError: licence.json is not what `carry_licence` writes.
    """
    path = folder / LICENCE
    if not path.is_file():
        return UNKNOWN
    try:
        licence = cast(Licence, decode(Licence, json.loads(path.read_text(encoding="utf-8")), ""))
        if any(Path(name).name != name or not (folder / name).is_file() for name in licence.files):
            raise ValueError("it names a file that is not beside it")
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} cannot be read: {' '.join(str(error).split())}. Make the artifact again") from None
    return licence


def _small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= _LIMIT_BYTES


def _head(path: Path) -> Mapping[str, object]:
    """The YAML between the two lines of dashes that a model card opens with."""
    if not _small(path):
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    opening, _, rest = text.partition("---\n")
    head, closing, _ = rest.partition("\n---")
    if opening.strip() or not closing:
        return {}
    try:
        found = yaml.safe_load(head)
    except (yaml.YAMLError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
