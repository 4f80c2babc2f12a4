"""What a checkpoint and a cut of it are, as data: configuration, text facts, named lazy tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlexport.facts import Range
from mlexport.kept import KeptTokens
from mlexport.npu import Chip
from mlexport.retained import FLOAT_VECTORS, StoredVectors
from mlexport.reuse import Array, Reuse
from mlexport.spec import SubModelSpec
from mlexport.tensors import LazyTensor

# Names as in transformers' Qwen3Model; {} is the layer number
TABLE = "embed_tokens.weight"
# The table as a product: U [vocabulary, rank] is looked up, V [rank, hidden] multiplies what was found
TABLE_LEFT, TABLE_RIGHT = "embed_tokens.U", "embed_tokens.V"
FINAL_NORM = "norm.weight"
LAYER_TENSORS = (
    "layers.{}.input_layernorm.weight",
    "layers.{}.self_attn.q_proj.weight",
    "layers.{}.self_attn.k_proj.weight",
    "layers.{}.self_attn.v_proj.weight",
    "layers.{}.self_attn.o_proj.weight",
    "layers.{}.self_attn.q_norm.weight",
    "layers.{}.self_attn.k_norm.weight",
    "layers.{}.post_attention_layernorm.weight",
    "layers.{}.mlp.gate_proj.weight",
    "layers.{}.mlp.up_proj.weight",
    "layers.{}.mlp.down_proj.weight",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes and constants of a Qwen3 encoder, from config.json.

    Attributes:
        raw: config.json as read, for files that must be written back whole.
    """

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    rope_theta: float
    eps: float
    raw: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFacts:
    """How text becomes token ids, read from the tokenizer's files and never assumed.

    Attributes:
        end_id: id of the token whose vector is pooled.
        end_token: its text.
        end_appended: whether tokenizer.json itself appends it.
        pad_id: id used for padding.
        max_length: longest text in tokens, `end_id` included.
        prompts: prompt name -> text put before it ("query", "document"), from config_sentence_transformers.json.
    """

    end_id: int
    end_token: str
    end_appended: bool
    pad_id: int
    max_length: int
    prompts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint: nothing of a tensor is read yet.

    Attributes:
        name: what the user asked for: "demo", a folder's name, or a hub id.
        folder: local folder that holds the files.
        revision: hub revision, or None for a local folder.
        tensors: every tensor of Qwen3Model by name; the table included.
        factors: (U [vocabulary, r], V [r, hidden]) where the checkpoint has them.
        trained_layers, trained_ranks, trained_dims: cuts that were trained, ascending; ranks empty without factors.
        text: tokenizer facts.
        reuse: where bytes made from its tensors are kept for other cuts of it; None makes them anew.
    """

    name: str
    folder: Path
    revision: str | None
    config: ModelConfig
    tensors: Mapping[str, LazyTensor]
    factors: tuple[LazyTensor, LazyTensor] | None
    trained_layers: tuple[int, ...]
    trained_ranks: tuple[int, ...]
    trained_dims: tuple[int, ...]
    text: TextFacts
    reuse: Reuse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubModel:
    """A cut: the same names as a checkpoint of its own, the final norm zero past `dim`.

    Attributes:
        config: with `layers` cut, also in `raw` (num_hidden_layers, layer_types).
        tensors: in writing order: table, layers from the first, final norm.
        factors: a rank cut's table as (U [vocabulary, rank], V [rank, hidden]); None without a rank cut.
        vocabulary: the tokens kept; None where the table has every row of the checkpoint's.
        text: the checkpoint's tokenizer facts, with the ids of the tokens kept.
        tokenizer: reads tokenizer.json, as the tokens kept leave it.
        shape: fixed (batch, tokens) of an artifact for accelerators; None where any will do.
        stored: how vectors are stored; a graph gives them in that form too.
        chip: what a compiled artifact is compiled for; None where nothing is compiled.
        ranges: a matrix with quantised activations -> the ranges of its input and its product, from calibration text.
        untrained: one sentence for each axis whose cut was not trained; empty if all were.
        notes: decisions worth printing, such as "rank 64 by SVD: this checkpoint has no U and V".
    """

    checkpoint: Checkpoint
    spec: SubModelSpec
    config: ModelConfig
    tensors: Mapping[str, LazyTensor]
    factors: tuple[LazyTensor, LazyTensor] | None
    vocabulary: KeptTokens | None
    text: TextFacts
    tokenizer: Callable[[], dict[str, Any]]
    shape: tuple[int, int] | None
    untrained: tuple[str, ...]
    notes: tuple[str, ...]
    stored: StoredVectors = FLOAT_VECTORS
    chip: Chip | None = None
    ranges: Mapping[str, tuple[Range, Range]] = field(default_factory=dict)

    def packed_once(self, name: str, form: str, make: Callable[[], Iterator[Array]]) -> Iterator[Array]:
        """A tensor's bytes in some form, kept for other cuts of the checkpoint where it says so.

        Args:
            name: of the tensor; only matrices are kept.
            form: all else that the bytes depend on: format, scheme.
            make: its arrays, in order.
        """
        reuse, table = self.checkpoint.reuse, name in (TABLE, TABLE_LEFT, TABLE_RIGHT)
        if reuse is None or not (table or name.endswith("_proj.weight")):
            return make()
        # The table is another one in each rank, and with other tokens
        runs = None if self.vocabulary is None else self.vocabulary.runs
        own = replace(reuse, name=f"rank {self.spec.rank}, tokens {runs}") if table else reuse
        return own.chunks(f"{form} {name}", make)
