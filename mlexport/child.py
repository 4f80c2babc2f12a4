"""The process that computes the reference: what it is asked, and what it answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlexport import process
from mlexport.errors import VerificationError
from mlexport.export.files import copy_text_files, write_json
from mlexport.model import SubModel
from mlexport.tensors import Float32

# Folder of its work with the tokenizer that a vocabulary slice leaves
_SLICED = "sliced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Token ids and vectors, float32 [texts, dim], of one side.

    changed: text -> cosine of its vector to that of its original split, where a vocabulary slice changed the split.
    """

    ids: Sequence[Sequence[int]]
    vectors: Float32
    source: str
    largest_residual: float | None = None
    changed: Mapping[int, float] = field(default_factory=dict)


def start(sub: SubModel, texts: Sequence[str], work: Path, *, stream: bool) -> subprocess.Popen[str]:
    """Start it on the texts, with `work`, an empty folder, for both sides; `stream`: one layer in memory at a time."""
    request = request_of(sub, texts, work, stream=stream)
    (work / "request.json").write_text(json.dumps(request), encoding="utf-8")
    arguments = [work / "request.json", work / "vectors.npz"]
    return process.start("mlexport.reference", arguments, work, output=subprocess.DEVNULL)


def request_of(sub: SubModel, texts: Sequence[str], work: Path, *, stream: bool) -> dict[str, object]:
    """What it is asked; the tokenizer that a vocabulary slice leaves is put into `work`."""
    request: dict[str, object] = {
        "folder": str(sub.checkpoint.folder.resolve()),
        "layers": sub.spec.layers,
        "rank": sub.spec.rank,
        "svd": sub.checkpoint.factors is None,
        "dim": sub.spec.dim,
        "end_id": sub.checkpoint.text.end_id,
        "max_length": sub.checkpoint.text.max_length,
        "texts": list(texts),
        "stream": stream,
    }
    if sub.vocabulary is not None:
        (work / _SLICED).mkdir()
        copy_text_files(sub, work / _SLICED)
        # For the tokenizer's class, where its own settings leave that to the model
        write_json(work / _SLICED / "config.json", sub.config.raw)
        request |= {"kept": sub.vocabulary.runs, "sliced": str(work / _SLICED)}
    return request


def finish(child: subprocess.Popen[str], work: Path) -> Answers:
    """Wait for its answers.

    Raises:
        VerificationError: it failed.
    """
    code = child.wait()
    if code != 0:
        last = process.last_words(work)
        raise VerificationError(f"the transformers reference stopped with exit code {code}: {last}")
    with np.load(work / "vectors.npz") as found:
        ends = np.cumsum(found["lengths"])[:-1]
        ids = [part.tolist() for part in np.split(found["ids"], ends)]
        largest = float(found["largest"])
        changed = dict(zip(found["changed"].tolist(), found["changed_cosines"].tolist(), strict=True))
        source = str(found["versions"])
        return Answers(ids=ids, vectors=found["vectors"], source=source, largest_residual=largest, changed=changed)
