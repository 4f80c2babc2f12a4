"""What a manifest says about calibration, and about the loss of the token table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """Columns of a matrix, or of its input, far beyond the others.

    Attributes:
        kind: "weights" (largest number of a column) or "inputs" (root mean square on the calibration texts).
        columns: the farthest, at most eight.
        count: all of them.
        largest: the farthest, in medians of all columns.
    """

    tensor: str
    kind: str
    columns: tuple[int, ...]
    count: int
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFacts:
    """What a variant was calibrated with.

    Attributes:
        name: "builtin", or the file's name.
        sha256: of the texts used, each with a newline behind it.
        texts, tokens: their number.
        outliers: found in weights and inputs.
    """

    name: str
    sha256: str
    texts: int
    tokens: int
    outliers: tuple[Outlier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoFacts:
    """How a mixture of precisions was chosen.

    Attributes:
        min_cosine: what the mean cosine had to reach; None where only the size was bounded.
        max_bytes: what the model's files had to stay within; None where only the cosine was.
        predicted_loss: 1 - mean cosine, as the sum of losses measured tensor by tensor on calibration text.
        verified_loss: 1 - mean cosine on the texts of the verification.
        tries: mixtures that were written and verified.
        losses: the measured losses: tensor -> scheme -> 1 - mean cosine with only that tensor rounded.
    """

    min_cosine: float | None
    max_bytes: int | None
    predicted_loss: float
    verified_loss: float
    tries: int
    losses: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableError:
    """|stored row - row| / |row| over the rows of the token table; `worst_token` is the id of the largest."""

    mean: float
    max: float
    worst_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What numbers lie between; zero is in it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFacts:
    """What a context binary was compiled with, and for.

    Attributes:
        soc, chip: Qualcomm's part number, and the name it is sold under.
        soc_model, htp_arch: the compiler's options of these names.
        batch, tokens: the only shape it takes.
        sdk: version of Qualcomm's compiler.
        provider, runtime: distributions and versions that called it.
        nodes: operators of the graph, all of them taken by the compiler.
        ran: what gave the vectors that were verified: "simulator" or "device".
    """

    soc: str
    chip: str
    soc_model: int
    htp_arch: int
    batch: int
    tokens: int
    sdk: str
    provider: str
    runtime: str
    nodes: int
    ran: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCheck:
    """An artifact against a device profile, operator by operator.

    Attributes:
        profile: its name.
        method: who was asked: "query" (the device's own compiler) or "list" (the documented operators).
        source: the compiler with its version, or where the list was read.
        operators: kinds of operators in the graph, all of them taken.
        nodes: how many they are.
        not_asked: why the device's own compiler was not; None where it was.
    """

    profile: str
    method: str
    source: str
    operators: tuple[str, ...]
    nodes: int
    not_asked: str | None
