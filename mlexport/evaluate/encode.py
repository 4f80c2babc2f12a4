"""Vectors of a retrieval set's texts: by an artifact in its own runtime, or by transformers on the full model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mlexport import process
from mlexport.errors import EvaluationError, missing_extra
from mlexport.evaluate.beir import RetrievalSet
from mlexport.evaluate.cache import entry_key, read_entry, write_entry
from mlexport.memory import available_bytes
from mlexport.model import Checkpoint
from mlexport.runtime import Embedder
from mlexport.tensors import Float32

# Prompt names of config_sentence_transformers.json
QUERY, DOCUMENT = "query", "document"
# Texts between two steps of a progress bar
_BATCH = 64
# Share of the free memory that the full model may take; above it one layer is in memory at a time
_MEMORY_SHARE = 0.8

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Vectors of a retrieval set, float32 [queries, dim] and [documents, dim]."""

    queries: Float32
    documents: Float32

    @property
    def not_finite(self) -> int:
        """Vectors with a number that is none."""
        sides = (self.queries, self.documents)
        return sum(int((~np.isfinite(side).all(axis=1)).sum()) for side in sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceVectors:
    """The full model's vectors.

    Attributes:
        how: versions, and how it was run, in words.
        cache: "read", "written", "off", or "not writable".
    """

    encoded: Encoded
    how: str
    cache: str


def prompted(data: RetrievalSet, prompts: Mapping[str, str]) -> list[str]:
    """What is embedded: documents, then queries, each with its own prompt where the checkpoint has one."""
    before, asked = prompts.get(DOCUMENT, ""), prompts.get(QUERY, "")
    return [before + document.content for document in data.documents] + [asked + query.text for query in data.queries]


def artifact_vectors(
    embedder: Embedder, dim: int, data: RetrievalSet, prompts: Mapping[str, str], advance: Advance
) -> Encoded:
    """An artifact's vectors; texts of like length run together.

    Args:
        dim: numbers of its vectors.
        advance: called with the number of texts done.
    """
    vectors = embed_all(embedder, dim, prompted(data, prompts), advance)
    documents = len(data.documents)
    return Encoded(documents=vectors[:documents], queries=vectors[documents:])


def embed_all(embedder: Embedder, dim: int, texts: Sequence[str], advance: Advance = lambda _: None) -> Float32:
    """Vectors of many texts, float32 [texts, dim]."""
    vectors = np.empty((len(texts), dim), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), _BATCH):
        part = order[start : start + _BATCH]
        vectors[part] = embedder.embed([texts[i] for i in part])
        advance(len(part))
    return vectors


def reference_vectors(
    checkpoint: Checkpoint, data: RetrievalSet, *, cache: Path | None, advance: Advance
) -> ReferenceVectors:
    """The full model's vectors, by transformers in a child process, or from the cache.

    Args:
        cache: folder of kept vectors; None neither reads nor writes any.
        advance: called with the number of texts done.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        EvaluationError: the child failed.
    """
    for module in ("torch", "transformers"):
        if find_spec(module) is None:
            raise missing_extra(module, "torch", "the full model's vectors")
    texts = prompted(data, checkpoint.text.prompts)
    # Documents and queries are kept apart: another sample of queries finds its documents again
    parts = (texts[: len(data.documents)], texts[len(data.documents) :])
    keys = [] if cache is None else [entry_key(checkpoint, part) for part in parts]
    kept: list[Float32 | None] = [None, None] if cache is None else [read_entry(cache, key) for key in keys]
    missing = [place for place, vectors in enumerate(kept) if vectors is None]
    advance(sum(len(vectors) for vectors in kept if vectors is not None))
    stream = not _fits(checkpoint)
    state = "off" if cache is None else "read"
    if missing:
        asked = [text for place in missing for text in parts[place]]
        vectors = _run_child(checkpoint, asked, stream=stream, advance=advance)
        ends = np.cumsum([len(parts[place]) for place in missing])[:-1]
        for place, found in zip(missing, np.split(vectors, ends), strict=True):
            kept[place] = found
            if cache is not None:
                state = "written" if write_entry(cache, keys[place], found) else "not writable"
    documents, queries = (vectors for vectors in kept if vectors is not None)
    return ReferenceVectors(
        encoded=Encoded(documents=documents, queries=queries), how=_how(stream=stream and bool(missing)), cache=state
    )


def _how(*, stream: bool) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("transformers", "torch"))
    return f"{libraries}, float32, every layer" + (", one layer in memory at a time" if stream else "")


def _fits(checkpoint: Checkpoint) -> bool:
    """Whether the whole model fits into memory in float32; yes where nothing is known."""
    free = available_bytes()
    return free is None or 4 * sum(tensor.size for tensor in checkpoint.tensors.values()) <= _MEMORY_SHARE * free


def _run_child(checkpoint: Checkpoint, texts: Sequence[str], *, stream: bool, advance: Advance) -> Float32:
    request = {
        "folder": str(checkpoint.folder.resolve()),
        "end_id": checkpoint.text.end_id,
        "max_length": checkpoint.text.max_length,
        "texts": list(texts),
        "stream": stream,
    }
    with tempfile.TemporaryDirectory(prefix="mlexport-eval-") as folder:
        work = Path(folder)
        (work / "request.json").write_text(json.dumps(request), encoding="utf-8")
        arguments = [work / "request.json", work / "v.npz"]
        code = process.run("mlexport.reference_corpus", arguments, work, lambda line: advance(int(line)))
        if code != 0:
            last = process.last_words(work)
            raise EvaluationError(f"the transformers reference stopped with exit code {code}: {last}")
        with np.load(work / "v.npz") as found:
            vectors: Float32 = found["vectors"]
            return vectors
