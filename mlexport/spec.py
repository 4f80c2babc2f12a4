"""What to cut and how to store it: SubModelSpec, Target, precision names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from mlexport.errors import UsageError

_NAME = re.compile(r"L(?P<layers>\d+)(?:-V(?P<vocab>\d+))?(?:-R(?P<rank>\d+))?-D(?P<dim>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubModelSpec:
    """A point of the 3D-Matryoshka cube, and how much of the vocabulary is left.

    Attributes:
        layers: decoder layers kept, from the first.
        vocab: tokens kept; None keeps every row of the table.
        rank: columns of U and rows of V kept; None keeps the checkpoint's own folded table.
        dim: numbers of the pooled vector kept, before normalisation.
    """

    layers: int
    vocab: int | None = None
    rank: int | None
    dim: int

    @property
    def name(self) -> str:
        """Short name, such as L8-V32000-R128-D128, or L8-D128 with the whole table."""
        vocab = "" if self.vocab is None else f"-V{self.vocab}"
        rank = "" if self.rank is None else f"-R{self.rank}"
        return f"L{self.layers}{vocab}{rank}-D{self.dim}"

    @classmethod
    def parse(cls, name: str) -> SubModelSpec:
        """The spec of a name; the inverse of `name`.

        Raises:
            UsageError: the name has another form.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise UsageError(f"'{name}' is not a cut: expected a name such as L8-V32000-R128-D128 or L8-D128")
        vocab, rank = (None if match[axis] is None else int(match[axis]) for axis in ("vocab", "rank"))
        return cls(layers=int(match["layers"]), vocab=vocab, rank=rank, dim=int(match["dim"]))


class Target(StrEnum):
    """Formats an artifact can have; the value is the name of the module in `mlexport.export`."""

    HF = "hf"
    GGUF = "gguf"
    ONNX = "onnx"
    OPENVINO = "openvino"
    QNN = "qnn"


class VectorPrecision(StrEnum):
    """What a user stores of a vector."""

    F32 = "f32"
    INT8 = "int8"
    BINARY = "binary"


def parse_vectors(text: str) -> VectorPrecision:
    """A vector precision of a name.

    Raises:
        UsageError: no such precision.
    """
    try:
        return VectorPrecision(text.lower())
    except ValueError:
        raise UsageError(f"unknown vector precision '{text}': choose from {', '.join(VectorPrecision)}") from None


# Precisions by target: the user's word -> the format's own name. The first is the default.
PRECISIONS: dict[Target, dict[str, str]] = {
    Target.HF: {"f32": "f32", "f16": "f16", "bf16": "bf16"},
    Target.GGUF: {
        "int8": "q8_0",
        "int4": "q4_k_m",
        "f32": "f32",
        "f16": "f16",
        "bf16": "bf16",
        "q8_0": "q8_0",
        "q6_k": "q6_k",
        "q5_k_m": "q5_k_m",
        "q5_0": "q5_0",
        "q4_k_m": "q4_k_m",
        "q4_0": "q4_0",
        "iq4_xs": "iq4_xs",
    },
    # int8: activations too, one scale a matrix row; the _b forms have a scale for each 32, 64
    # or 128 numbers of a row
    Target.ONNX: {
        "int8": "int8",
        "int4": "int4_b32",
        "f32": "f32",
        "f16": "f16",
        "int8_b32": "int8_b32",
        "int4_b32": "int4_b32",
        "int4_b64": "int4_b64",
        "int4_b128": "int4_b128",
    },
    # Weights alone; int8 with one scale a matrix row, int4 with one for each 32, 64 or 128 numbers of a row.
    # NNCF's names
    Target.OPENVINO: {
        "int8": "int8_sym",
        "int4": "int4_sym",
        "f32": "f32",
        "f16": "f16",
        "int8_sym": "int8_sym",
        "int4_sym": "int4_sym",
        "int4_b32": "int4_sym",
        "int4_b64": "int4_sym_b64",
        "int4_b128": "int4_sym_b128",
        "int4_sym_b64": "int4_sym_b64",
        "int4_sym_b128": "int4_sym_b128",
    },
    # w8a16: int8 weights with one scale a matrix row, inputs and products in uint16; the table in int8
    Target.QNN: {"f16": "f16", "w8a16": "w8a16", "int8": "w8a16"},
}
# Chosen by measured losses: not where one precision holds for all of a file, nor where each try is compiled
_NO_AUTO = (Target.HF, Target.QNN)

# Numbers are rounded one by one, with no scale
FLOAT_PRECISIONS = frozenset(("f32", "f16", "bf16"))
# A mixture chosen from measured losses; of every target that quantises
AUTO = "auto"

# Place in an IR's rt_info for what to compute in, where that is not left to the device: OpenVINO keeps it there for
# `mlexport.runtime.openvino`, and does not read it by itself
INFERENCE_PRECISION = ("mlexport", "inference_precision")


def parse_shape(text: str) -> tuple[int, int]:
    """(batch, tokens) of a text such as "1x128".

    Raises:
        UsageError: the text has another form.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or not int(match[1]) or int(match[2]) < 2:
        raise UsageError(f"'{text}' is not a shape: expected BATCHxTOKENS with 2 tokens or more, such as 1x128")
    return int(match[1]), int(match[2])


_SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str) -> int:
    """Bytes of a text such as "60MB" (10^6 bytes each) or "62000000".

    Raises:
        UsageError: the text has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B)?", text.strip().upper())
    size = 0 if match is None else int(float(match[1]) * _SIZES[match[2] or "B"])
    if size < 1:
        raise UsageError(f"'{text}' is not a size: expected a number with KB, MB or GB, such as 60MB")
    return size


_TIMES = {"MS": 1.0, "S": 1000.0}


def parse_duration_ms(text: str) -> float:
    """Milliseconds of a text such as "30ms" or "0.05s".

    Raises:
        UsageError: the text has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MS|S)", text.strip().upper())
    found = 0.0 if match is None else float(match[1]) * _TIMES[match[2]]
    if not found:
        raise UsageError(f"'{text}' is not a time: expected a number with ms or s, such as 30ms or 0.05s")
    return found


def show_ms(value: float) -> str:
    """Milliseconds with the three digits that count: "0.234", "5.3", "1,204"."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def parse_target(text: str) -> Target:
    """The target of a name.

    Raises:
        UsageError: no such target.
    """
    try:
        return Target(text)
    except ValueError:
        raise UsageError(f"unknown target '{text}': choose from {', '.join(Target)}") from None


def resolve_precision(target: Target, text: str | None) -> str:
    """The format's own precision name for the user's word; None takes the target's default.

    Raises:
        UsageError: the target has no such precision.
    """
    known = PRECISIONS[target]
    if text is None:
        return next(iter(known.values()))
    names = [*known, *([] if target in _NO_AUTO else [AUTO])]
    if text.lower() not in names:
        raise UsageError(f"precision '{text}' is not one of target {target}: choose from {', '.join(names)}")
    if text.lower() == AUTO:
        return AUTO
    return known[text.lower()]
