"""(Checkpoint, SubModelSpec) → SubModel: pure, and no tensor is read before an exporter asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlexport.bpe import sliced_tokenizer
from mlexport.checkpoint import TRAINED_KEY
from mlexport.errors import CutError
from mlexport.kept import KeptTokens
from mlexport.model import (
    FINAL_NORM,
    LAYER_TENSORS,
    TABLE,
    TABLE_LEFT,
    TABLE_RIGHT,
    Checkpoint,
    ModelConfig,
    SubModel,
    TextFacts,
)
from mlexport.spec import SubModelSpec
from mlexport.tensors import Float32, LazyTensor
from mlexport.textfacts import AS_STORED, TOKENIZER
from mlexport.weights import read_json


def spec_of(
    checkpoint: Checkpoint, *, layers: int | None, vocabulary: KeptTokens | None, rank: int | None, dim: int | None
) -> SubModelSpec:
    """The cut of these numbers; what is None stays whole."""
    config = checkpoint.config
    return SubModelSpec(
        layers=config.layers if layers is None else layers,
        vocab=None if vocabulary is None else vocabulary.count,
        rank=rank,
        dim=config.hidden if dim is None else dim,
    )


def cut(
    checkpoint: Checkpoint,
    spec: SubModelSpec,
    *,
    allow_untrained: bool = False,
    vocabulary: KeptTokens | None = None,
    shape: tuple[int, int] | None = None,
) -> SubModel:
    """The sub-model of a spec.

    Depth keeps the first layers and the final norm; rank takes U[:, :r] @ V[:r]; dim zeroes the final norm past
    `dim`, so that the pooled vector's first numbers are what truncation before normalising gives. A vocabulary
    slice takes rows of the table (of U, in a rank cut), and the tokenizer that they leave.

    Args:
        vocabulary: the tokens that `spec.vocab` counts, closed under merges (see `mlexport.bpe.closed`).
        shape: fixed (batch, tokens): longer texts are cut to these tokens, as any over-long text is.

    Raises:
        CutError: a number outside the checkpoint, or a cut that was not trained and was not allowed.
    """
    _check_vocabulary(checkpoint, spec, vocabulary)
    untrained = _check(checkpoint, spec)
    if untrained and not allow_untrained:
        raise CutError(f"{untrained[0]}. Choose a trained one, or pass --allow-untrained")
    if shape is not None:
        checkpoint = shortened(checkpoint, shape[1])
    config = _cut_config(checkpoint, spec, vocabulary)
    names = [TABLE, *(name.format(n) for n in range(spec.layers) for name in LAYER_TENSORS), FINAL_NORM]
    tensors = {name: checkpoint.tensors[name] for name in names}
    factors = _factors(checkpoint, spec.rank)
    if factors is not None and vocabulary is not None:
        factors = (vocabulary.gathered(factors[0]), factors[1])
    if factors is not None:
        tensors[TABLE] = _product(*factors)
    elif vocabulary is not None:
        tensors[TABLE] = vocabulary.gathered(tensors[TABLE])
    tensors[FINAL_NORM] = _truncated(tensors[FINAL_NORM], spec.dim)
    return SubModel(
        checkpoint=checkpoint,
        spec=spec,
        config=config,
        tensors=tensors,
        factors=factors,
        vocabulary=vocabulary,
        text=_text(checkpoint, vocabulary),
        tokenizer=_tokenizer(checkpoint, vocabulary),
        shape=shape,
        untrained=untrained,
        notes=_notes(checkpoint, spec, shape),
    )


def _tokenizer(checkpoint: Checkpoint, vocabulary: KeptTokens | None) -> Callable[[], dict[str, Any]]:
    """Read when asked for: a large vocabulary takes a hundred MB as JSON."""
    path = checkpoint.folder / TOKENIZER
    if vocabulary is None:
        return lambda: read_json(path)
    return lambda: sliced_tokenizer(read_json(path), vocabulary)


def _text(checkpoint: Checkpoint, vocabulary: KeptTokens | None) -> TextFacts:
    text = checkpoint.text
    if vocabulary is None:
        return text
    new_ids = vocabulary.new_ids()
    return replace(text, end_id=new_ids[text.end_id], pad_id=new_ids[text.pad_id])


def _check_vocabulary(checkpoint: Checkpoint, spec: SubModelSpec, vocabulary: KeptTokens | None) -> None:
    """The tokens are those that the spec counts, and of this checkpoint."""
    count = None if vocabulary is None else vocabulary.count
    if spec.vocab != count:
        raise CutError(f"cut {spec.name} needs a vocabulary of {spec.vocab or 'all'} tokens, got {count or 'all'}")
    rows = checkpoint.config.vocabulary
    if vocabulary is not None and vocabulary.rows != rows:
        raise CutError(f"the vocabulary was cut from a table of {vocabulary.rows} rows, this checkpoint has {rows}")


def _check(checkpoint: Checkpoint, spec: SubModelSpec) -> tuple[str, ...]:
    """One sentence for each axis that was not trained."""
    config = checkpoint.config
    largest_rank = config.hidden if checkpoint.factors is None else checkpoint.factors[0].shape[1]
    axes = (
        ("layers", spec.layers, config.layers, checkpoint.trained_layers),
        ("rank", spec.rank, min(largest_rank, config.vocabulary), checkpoint.trained_ranks),
        ("dim", spec.dim, config.hidden, checkpoint.trained_dims),
    )
    untrained = []
    for axis, value, largest, trained in axes:
        if value is None:
            continue
        if not 1 <= value <= largest:
            raise CutError(f"{axis} {value} is outside this checkpoint's 1 to {largest} ({_list(axis, trained)})")
        if value not in trained:
            untrained.append(f"{axis} {value} is not a trained cut ({_list(axis, trained)})")
    return tuple(untrained)


def _list(axis: str, trained: Sequence[int]) -> str:
    if not trained:
        return f"no {axis} was trained: this checkpoint has no U.pth and V.pth, so the table is cut by SVD"
    return f"trained: {', '.join(map(str, trained))}"


def shortened(checkpoint: Checkpoint, tokens: int) -> Checkpoint:
    """The checkpoint with a longest text of at most so many tokens."""
    text = checkpoint.text
    return replace(checkpoint, text=replace(text, max_length=min(text.max_length, tokens)))


def _notes(checkpoint: Checkpoint, spec: SubModelSpec, shape: tuple[int, int] | None) -> tuple[str, ...]:
    notes = []
    if shape is not None:
        notes.append(f"static: {shape[0]} texts at a time, each padded or cut to {shape[1]} tokens")
    if spec.rank is not None and checkpoint.factors is None:
        notes.append(f"rank {spec.rank} by SVD of the stored table: this checkpoint has no U.pth and V.pth")
    text = checkpoint.text
    if not text.end_appended:
        notes.append(f"the tokenizer does not append {text.end_token}: the artifact does, as training did")
    if AS_STORED in text.prompts:
        notes.append(
            f"query prompt: the model card's {text.prompts['query']!r}; config_sentence_transformers.json has the "
            f"bare task, kept as prompt '{AS_STORED}'"
        )
    return tuple(notes)


def _cut_config(checkpoint: Checkpoint, spec: SubModelSpec, vocabulary: KeptTokens | None) -> ModelConfig:
    """config.json of the cut: fewer layers, also in layer_types (transformers 5 compares the two); new token ids."""
    raw = dict(checkpoint.config.raw)
    raw["num_hidden_layers"] = spec.layers
    kinds = raw.get("layer_types")
    if isinstance(kinds, list):
        raw["layer_types"] = kinds[: spec.layers]
    # A cut folder has no U and V any more
    raw[TRAINED_KEY] = {
        "layers": [n for n in checkpoint.trained_layers if n <= spec.layers],
        "ranks": [],
        "dims": [n for n in checkpoint.trained_dims if n <= spec.dim],
    }
    if vocabulary is None:
        return replace(checkpoint.config, layers=spec.layers, raw=raw)
    new_ids = vocabulary.new_ids()
    raw["vocab_size"] = vocabulary.count
    for key in [key for key in raw if key.endswith("_token_id")]:
        raw[key] = _renumbered(raw[key], new_ids)
    return replace(checkpoint.config, layers=spec.layers, vocabulary=vocabulary.count, raw=raw)


def _renumbered(value: object, new_ids: Mapping[int, int]) -> object:
    """The new id of one, or of each in a list; None for a token that is gone."""
    if isinstance(value, list):
        return [new_ids[old] for old in value if old in new_ids]
    return new_ids.get(value) if isinstance(value, int) else value


def _truncated(norm: LazyTensor, dim: int) -> LazyTensor:
    def read_rows(start: int, stop: int) -> Float32:
        values = norm.read_rows(start, stop).copy()
        values[max(0, dim - start) :] = 0
        return values

    return replace(norm, read_rows=read_rows)


def _factors(checkpoint: Checkpoint, rank: int | None) -> tuple[LazyTensor, LazyTensor] | None:
    """The two matrices whose product is the table of a rank cut."""
    if rank is None:
        return None
    if checkpoint.factors is None:
        return _by_svd(checkpoint, rank)
    u, v = checkpoint.factors

    def read_rows(start: int, stop: int) -> Float32:
        rows: Float32 = u.read_rows(start, stop)[:, :rank]
        return rows

    left = LazyTensor(name=TABLE_LEFT, shape=(u.shape[0], rank), stored=u.stored, read_rows=read_rows)
    # The first rows: reading them reads no others
    return left, replace(v, name=TABLE_RIGHT, shape=(rank, v.shape[1]))


def _by_svd(checkpoint: Checkpoint, rank: int) -> tuple[LazyTensor, LazyTensor]:
    """The best approximation of a rank (Eckart and Young, 1936), as a projection onto right singular vectors."""
    table, reuse = checkpoint.tensors[TABLE], checkpoint.reuse
    hidden = table.shape[1]

    @cache
    def axes() -> Float32:
        make = partial(_right_vectors, table)
        # Every rank takes the first of the same ones
        found = make() if reuse is None else reuse.array("right singular vectors", (hidden, hidden), make)
        return np.ascontiguousarray(found[:, :rank])

    def read_left(start: int, stop: int) -> Float32:
        rows: Float32 = table.read_rows(start, stop) @ axes()
        return rows

    def read_right(start: int, stop: int) -> Float32:
        rows: Float32 = np.ascontiguousarray(axes().T[start:stop])
        return rows

    left = LazyTensor(name=TABLE_LEFT, shape=(table.shape[0], rank), stored="f32", read_rows=read_left)
    return left, LazyTensor(name=TABLE_RIGHT, shape=(rank, hidden), stored="f32", read_rows=read_right)


def _right_vectors(table: LazyTensor) -> Float32:
    """A table's right singular vectors, the strongest first, float32 [hidden, hidden], one a column.

    These are the eigenvectors of the Gram matrix, which needs one pass over the rows and no second table.
    """
    hidden = table.shape[1]
    gram: NDArray[np.float64] = np.zeros((hidden, hidden))
    for block in table.blocks():
        wide = block.astype(np.float64)
        gram += wide.T @ wide
    return np.ascontiguousarray(np.linalg.eigh(gram)[1][:, ::-1], dtype=np.float32)


def _product(left: LazyTensor, right: LazyTensor) -> LazyTensor:
    """The folded table, multiplied a block of rows at a time."""
    whole = cache(right.read)

    def read_rows(start: int, stop: int) -> Float32:
        rows: Float32 = left.read_rows(start, stop) @ whole()
        return rows

    return LazyTensor(name=TABLE, shape=(left.shape[0], right.shape[1]), stored="f32", read_rows=read_rows)
