"""Recipes: what `slice`, `eval`, `bench`, `estimate`, `sweep` and `pack` are asked for, as one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Platform = Literal["android", "ios", "node", "python", "web"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Cut(_Strict):
    """A point of the cube; an axis left out keeps everything."""

    layers: Count | None = None
    rank: Count | None = None
    dim: Count | None = None
    allow_untrained: bool = False


class VocabularyChoice(_Strict):
    """Tokens that stay; a token stays if any entry keeps it."""

    keep: tuple[str, ...] = ()
    """As `--vocab`: "32000", "scripts:Latn,Cyrl", "corpus:FILE"."""
    coverage: Share | None = None


class PrecisionChoice(_Strict):
    """How numbers are stored."""

    names: Annotated[tuple[str, ...], Field(min_length=1)] = ("int8",)
    """As `--precision`; several lie in one artifact."""
    table: str | None = None
    calibrate: str | None = None
    min_cosine: Share | None = None
    """With precision auto."""
    max_size: str | None = None
    """With precision auto."""
    vectors: Literal["f32", "int8", "binary"] = "f32"


class Evaluation(_Strict):
    """What is checked of the vectors."""

    verify: Literal["full", "sample"] = "full"
    retention: bool = False
    """Retrieval against the full model, on the built-in set or `data`."""
    data: str | None = None
    """A folder in BEIR's layout."""


class Measurement(_Strict):
    """What latency is measured or estimated of."""

    tokens: Annotated[tuple[Count, ...], Field(min_length=1)] = (16, 128, 512)
    batch: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)


class Demands(_Strict):
    """What the result has to meet; `run` fails where it does not, `choose` and `sweep` mark what does."""

    max_size: str | None = None
    """Of what a user ships, such as "40MB"."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Of 128 tokens, median, on every profile of the recipe."""
    min_retention: Share | None = None
    """Share of the full model's nDCG@10."""
    min_cosine: Share | None = None


class Outputs(_Strict):
    """Where results go."""

    folder: Path | None = None
    """`out/NAME` by default."""
    pack: tuple[Platform, ...] = ()
    report: bool = True
    """report.html in the folder."""


class Grid(_Strict):
    """Axes of a sweep; one that is left out takes the recipe's own value."""

    layers: tuple[Count, ...] = ()
    rank: tuple[Count | None, ...] = ()
    """None (~ in YAML) is the stored table."""
    vocab: tuple[str | None, ...] = ()
    """Each as `--vocab`, several parts with a space between; None keeps all."""
    dim: tuple[Count, ...] = ()
    precision: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    profile: tuple[str, ...] = ()


class Recipe(_Strict):
    """One file of `recipes/`."""

    title: str
    whom: str
    """For whom it is, in a sentence."""
    model: str = "demo"
    cut: Cut = Cut()
    vocabulary: VocabularyChoice = VocabularyChoice()
    precision: PrecisionChoice = PrecisionChoice()
    targets: Annotated[tuple[Literal["gguf", "hf", "onnx", "openvino", "qnn"], ...], Field(min_length=1)]
    static: str | None = None
    """"BATCHxTOKENS", such as "1x128"."""
    text_in: bool = False
    profiles: tuple[str, ...] = ()
    """Names as `mlexport profiles ls` lists them."""
    evaluation: Evaluation = Evaluation()
    measure: Measurement = Measurement()
    demands: Demands = Demands()
    outputs: Outputs = Outputs()
    grid: Grid | None = None
