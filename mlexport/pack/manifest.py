"""What a pack says about itself: `model/model.json` for the app, `pack.json` for whoever checks the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mlexport.artifact import FileEntry
from mlexport.licence import Licence

PACK = "pack.json"
MODEL_FOLDER = "model"
MODEL_FACTS = "model.json"
TOKENIZER = "tokenizer.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """How ids end: the longest text has `max_length` of them, the last of which is always `end_id`."""

    max_length: int
    end_id: int
    end_token: str
    pad_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """How vectors are stored.

    Attributes:
        precision: "f32", "int8" or "binary".
        range: end of the int8 range; None for others.
        output: the model's output that has them; None where the app makes them from the float32 ones, or for f32.
    """

    precision: str
    range: float | None
    output: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a sample reads at run time, so that its source is the same for every model.

    Attributes:
        name, revision: of the checkpoint; a revision is a hub's commit.
        cut: such as "L8-D128".
        takes: "ids" or "text".
        file: the model, beside this file.
        bytes: of the model's files.
        dim: numbers of a vector.
        prompts: prompt name -> text put before a text.
    """

    name: str
    revision: str | None
    cut: str
    target: str
    precision: str
    takes: str
    file: str
    bytes: int
    dim: int
    tokens: Tokens
    prompts: Mapping[str, str]
    vectors: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How near the model is to the reference, as the artifact's manifest says."""

    status: str
    texts: int
    mean_cosine: float | None
    min_cosine: float | None
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackManifest:
    """pack.json.

    Attributes:
        platform: "web", "android", …
        runtime: package -> version that the sample names.
        carried: whether the runtime's own files are in the folder.
        licence: of the model; its files lie in the folder.
        sample_licence: SPDX name of the samples' licence; its text is in LICENSE-mlexport.txt.
        notes: what to know, a sentence each.
        files: every file but this one.
    """

    format_version: int
    tool: str
    platform: str
    model: str
    cut: str
    target: str
    precision: str
    runtime: Mapping[str, str]
    carried: bool
    licence: Licence
    sample_licence: str
    verification: Verification
    notes: tuple[str, ...]
    files: tuple[FileEntry, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.bytes for entry in self.files)


def as_json(content: ModelFacts | PackManifest) -> str:
    """The text of a pack's JSON file."""
    return json.dumps(asdict(content), indent=1, ensure_ascii=False) + "\n"
