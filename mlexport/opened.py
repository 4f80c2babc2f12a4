"""An artifact ready for use: texts in, vectors or search results out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from mlexport import runtime
from mlexport.artifact import read_artifact
from mlexport.errors import UsageError
from mlexport.evaluate.stored import to_binary, to_int8
from mlexport.progress import Progress, Steps
from mlexport.results import Found, SearchResult
from mlexport.search import DEFAULT_CORPUS, Document, nearest, read_documents
from mlexport.spec import SubModelSpec, VectorPrecision, parse_target, parse_vectors
from mlexport.tensors import Float32, StoredArray

# Prompt names of config_sentence_transformers.json
QUERY, DOCUMENT = "query", "document"
# Texts between two steps of a progress bar
_BATCH = 64


class OpenArtifact:
    """An artifact loaded in its runtime; close it, or use it in a `with` block.

    Attributes:
        artifact: folder and manifest.
        variant: which of its model files.
        dim: numbers of a vector.
        prompts: prompt name -> text put before it.
    """

    def __init__(self, folder: Path, variant: str | None = None) -> None:
        self.artifact = read_artifact(folder)
        manifest = self.artifact.manifest
        self.variant = manifest.variant(variant)
        text = self.artifact.text
        self.prompts = text.prompts
        self.dim = SubModelSpec.parse(manifest.spec).dim
        target, file = parse_target(manifest.target), self.variant.model_file
        self._embedder = runtime.load(target, folder, file, text, self.dim, takes=self.variant.takes)

    @property
    def query_prompt(self) -> str | None:
        """What goes before a query; None where the checkpoint names no such prompt."""
        return self.prompts.get(QUERY)

    def embed(self, texts: Sequence[str], *, query: bool = False, progress: Progress | None = None) -> Float32:
        """Vectors of texts, float32 [texts, dim], L2-normalised.

        Args:
            query: put the checkpoint's query prompt before each text; otherwise its document prompt, if any.

        Raises:
            UsageError: `query` without a query prompt in the checkpoint.
        """
        if query and self.query_prompt is None:
            known = ", ".join(self.prompts) or "none"
            raise UsageError(
                f"{self.artifact.manifest.model} has no query prompt (prompts: {known}): leave the query option out"
            )
        return self._embed(texts, self.prompts.get(QUERY if query else DOCUMENT, ""), "embed", progress)

    def store(self, vectors: Float32, precision: str | None = None) -> StoredArray:
        """Vectors as they are stored: float32, int8 codes, or signs packed into uint8.

        Args:
            vectors: float32 [texts, dim], as `embed` gives them.
            precision: "f32", "int8" or "binary"; None takes what the artifact was made for.

        Raises:
            UsageError: an unknown precision, or int8 of an artifact whose range was not calibrated.
        """
        stored = self.artifact.manifest.vectors
        chosen = parse_vectors(stored.precision if precision is None else precision)
        if chosen == VectorPrecision.F32:
            return vectors
        if chosen == VectorPrecision.BINARY:
            return to_binary(vectors)
        if stored.range is None:
            raise UsageError(
                f"{self.artifact.folder} has no int8 range: make it with `mlexport slice --vectors int8`, "
                "or store f32 or binary"
            )
        return to_int8(vectors, stored.range)

    def search(
        self, queries: Sequence[str], documents: Sequence[Document], *, top: int = 10, progress: Progress | None = None
    ) -> tuple[Found, ...]:
        """The `top` nearest documents of each query, best first.

        Queries get the query prompt and documents the document prompt, where the checkpoint has them.
        """
        texts = [document.content for document in documents]
        vectors = self._embed(texts, self.prompts.get(DOCUMENT, ""), "documents", progress)
        asked = self._embed(queries, self.query_prompt or "", "queries", progress)
        return tuple(
            Found(query=query, hits=nearest(vector, vectors, documents, top))
            for query, vector in zip(queries, asked, strict=True)
        )

    def close(self) -> None:
        """Free the runtime's memory."""
        self._embedder.close()

    def __enter__(self) -> OpenArtifact:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _embed(self, texts: Sequence[str], prompt: str, step: str, progress: Progress | None) -> Float32:
        steps = Steps(progress)
        parts = [np.zeros((0, self.dim), dtype=np.float32)]
        with steps.step(step, len(texts)):
            for start in range(0, len(texts), _BATCH):
                parts.append(self._embedder.embed([prompt + text for text in texts[start : start + _BATCH]]))
                steps.progress.advance(len(parts[-1]))
        return np.concatenate(parts)


def open_artifact(folder: Path | str, variant: str | None = None) -> OpenArtifact:
    """Open an artifact in its own runtime.

    Args:
        variant: name of one of its model files, such as "int4_b32"; None takes the first.

    Raises:
        ArtifactError: not an artifact, a damaged one, or no such variant.
        MissingExtraError: its runtime is not installed.
    """
    return OpenArtifact(Path(folder), variant)


def search(
    folder: Path | str,
    queries: Sequence[str],
    *,
    corpus: Path | None = None,
    top: int = 10,
    variant: str | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search a corpus with an artifact.

    Args:
        queries: one text each.
        corpus: file of documents, see `mlexport.search.read_documents`; None takes the built-in evaluation set.
        top: results a query.
        variant: name of one of its model files; None takes the first.

    Raises:
        UsageError: no query, `top` below 1, or an unreadable corpus.
        ArtifactError: not an artifact, or a damaged one.
        MissingExtraError: its runtime is not installed.
    """
    if not queries:
        raise UsageError("no query: give one or more texts to search for")
    if top < 1:
        raise UsageError(f"top is {top}: the least is 1")
    path = corpus or DEFAULT_CORPUS
    documents = read_documents(path)
    with open_artifact(folder, variant) as opened:
        found = opened.search(queries, documents, top=top, progress=progress)
        return SearchResult(corpus=path, documents=len(documents), prompt=opened.query_prompt, found=found)
