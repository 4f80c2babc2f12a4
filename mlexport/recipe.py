"""Recipes: what `slice`, `eval`, `bench`, `estimate`, `sweep` and `pack` are asked for, as one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _text(value: object) -> object:
    # 32000 and 40000000 are numbers to YAML
    return str(value) if type(value) is int else value


Count = Annotated[int, Field(ge=1)]
Words = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | int)]
Share = Annotated[float, Field(gt=0, le=1)]
Platform = Literal["android", "ios", "node", "python", "web"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Cut(_Strict):
    """A point of the cube; an axis left out keeps everything."""

    layers: Count | None = None
    """The first layers."""
    rank: Count | None = None
    """Of the token table, as U times V; the stored table by default."""
    dim: Count | None = None
    """The first numbers of a vector."""
    allow_untrained: bool = False
    """A cut that was not trained is an error without it."""


class VocabularyChoice(_Strict):
    """Tokens that stay; a token stays if any entry keeps it."""

    keep: tuple[Words, ...] = ()
    """As `--vocab`: 32000, "scripts:Latn,Cyrl", "corpus:FILE"."""
    coverage: Share | None = None
    """Share of a corpus's tokens that stays, the most frequent first; all by default."""


class PrecisionChoice(_Strict):
    """How numbers are stored."""

    names: Annotated[tuple[str, ...], Field(min_length=1)] = ("int8",)
    """As `--precision`: f32, f16, int8, int4, auto, or the format's own; several lie in one artifact."""
    table: str | None = None
    """Of the token table alone."""
    calibrate: str | None = None
    """"builtin", or a file with texts to round on."""
    min_cosine: Annotated[float, Field(gt=0, lt=1)] | None = None
    """With precision auto: the mean cosine to reach."""
    max_size: Words | None = None
    """With precision auto: what the model's files may take, such as "60MB"."""
    vectors: Literal["f32", "int8", "binary"] = "f32"
    """How the app will store vectors."""


class Evaluation(_Strict):
    """What is checked of the vectors."""

    verify: Literal["full", "sample"] = "full"
    """sample: for checkpoints too large for the whole comparison with transformers."""
    retention: bool = False
    """Retrieval against the full model, on the built-in set or `data`."""
    data: str | None = None
    """A folder in BEIR's layout."""
    sample: Count | None = None
    """So many of its queries; all by default."""


class Measurement(_Strict):
    """What latency is measured or estimated of."""

    tokens: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (16, 128, 512)
    """Of a text, the end token included."""
    batch: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    """Texts in a call."""
    min_calls: Annotated[int, Field(ge=3)] = 50
    """On `local`: at least so many calls of each."""
    min_seconds: Annotated[float, Field(ge=0, lt=3600)] = 2.0
    """On `local`: and at least so long."""
    rounds: Count = 7
    """On `local`: turns that each model file gets."""


class Demands(_Strict):
    """What every model file of the result has to meet; `run` fails where one does not, `sweep` marks what does."""

    max_size: Words | None = None
    """Of what a user ships, such as "40MB"."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Of 128 tokens, median, on every profile of the recipe."""
    min_retention: Share | None = None
    """Share of the full model's nDCG@10."""
    min_cosine: Share | None = None
    """Mean cosine to the reference."""


class Outputs(_Strict):
    """Where results go."""

    folder: Path | None = None
    """`out/NAME` by default."""
    pack: tuple[Platform, ...] = ()
    """Platforms that get a folder to drop into an app."""
    report: bool = True
    """report.html in the folder."""


class Grid(_Strict):
    """Axes of a sweep; one that is left out takes the recipe's own value."""

    layers: tuple[Count, ...] = ()
    """As cut.layers."""
    rank: tuple[Count | None, ...] = ()
    """As cut.rank; null (~) is the stored table."""
    vocab: tuple[Words | None, ...] = ()
    """As vocabulary.keep, several parts with a space between; null (~) keeps all."""
    dim: tuple[Count, ...] = ()
    """As cut.dim."""
    precision: tuple[str, ...] = ()
    """As precision.names, one each; a target that has none of that name is left out."""
    target: tuple[str, ...] = ()
    """As targets, one each."""
    profile: tuple[str, ...] = ()
    """As profiles, one each."""


class Recipe(_Strict):
    """One file of `recipes/`."""

    title: Annotated[str, Field(min_length=1)]
    """What it makes, in a line."""
    whom: Annotated[str, Field(min_length=1)]
    """For whom it is, in a sentence."""
    model: str = "demo"
    """"demo", a folder, or a hub id with an optional @REVISION."""
    cut: Cut = Cut()
    vocabulary: VocabularyChoice = VocabularyChoice()
    precision: PrecisionChoice = PrecisionChoice()
    targets: Annotated[tuple[Literal["gguf", "hf", "onnx", "openvino", "qnn"], ...], Field(min_length=1)]
    """Formats; an artifact each, from one checkpoint and against one reference."""
    static: str | None = None
    """"BATCHxTOKENS", such as "1x128": fixed shapes for NPUs (onnx, openvino, qnn)."""
    soc: str | None = None
    """With target qnn: the Snapdragon it is compiled for, such as sm8550, sm8650, sm8750."""
    text_in: bool = False
    """A second file with the tokenizer inside (onnx, openvino)."""
    profiles: tuple[str, ...] = ()
    """Names as `mlexport profiles ls` lists them."""
    evaluation: Evaluation = Evaluation()
    measure: Measurement = Measurement()
    demands: Demands = Demands()
    outputs: Outputs = Outputs()
    grid: Grid | None = None
    """With it, `mlexport sweep` makes every point of the grid."""
