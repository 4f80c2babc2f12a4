"""What `slice` is asked for, as one piece of data, and the checks that need no checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlexport.errors import UsageError
from mlexport.npu import Chip, find_chip
from mlexport.spec import (
    AUTO,
    FLOAT_PRECISIONS,
    Target,
    VectorPrecision,
    parse_shape,
    parse_size,
    parse_target,
    parse_vectors,
    resolve_precision,
)

# Calibration texts that are in the package
BUILTIN_TEXTS = "builtin"
# A tokenizer can stand in front of them
_TEXT_TARGETS = (Target.ONNX, Target.OPENVINO)
# Their shapes can be fixed
_STATIC_TARGETS = (*_TEXT_TARGETS, Target.QNN)
# The shape of a compiled graph where none is asked for
COMPILED_SHAPE = (1, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What precision "auto" must meet: a mean cosine, a size of the model's files in bytes, or both."""

    min_cosine: float | None
    max_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRequest:
    """A cut, its formats and precisions, and where they go.

    Attributes:
        model: "demo", a folder, or a hub id with an optional "@revision".
        layers: decoder layers kept; None keeps all.
        rank: rank of the token table; None keeps the checkpoint's own table.
        dim: numbers of the vector kept; None keeps all.
        vocab: "32000", "scripts:Latn,Cyrl", "corpus:FILE"; a token stays if any of them keeps it. Empty keeps all.
        vocab_coverage: share of the corpus's tokens that must stay; None is all.
        targets: "gguf", "hf", "onnx", "openvino"; the checkpoint, the cut and the reference are shared.
        precisions: the targets' names, see `mlexport.spec.PRECISIONS`; several lie in one folder, the first is the
            one that is opened when nothing else is said. Empty takes each target's default.
        table_precision: precision of the token table alone.
        out: folder of the artifact, or of one folder a target if there are several; None makes a name under `out/`.
        allow_untrained: cut where the checkpoint was not trained.
        text_in: a second file of each precision with the tokenizer inside, which takes strings.
        vectors: how a user stores the vectors, "f32", "int8" or "binary"; graphs give them in that form too.
        static: "BATCHxTOKENS", such as "1x128": fixed shapes for accelerators ("onnx", "openvino", "qnn", whose
            default that is).
        soc, htp_arch: what "qnn" is compiled for: a part number of `mlexport.npu.CHIPS`, or a Hexagon version.
        profile: a device profile that the artifact must fit: shapes, precisions, operators.
        calibrate: a file with one text a line (or .jsonl), or "builtin": matrices are rounded so that their products
            stay true on these texts. Precisions "auto" and "w8a16" take "builtin" where nothing is said.
        min_cosine: with precision "auto", the mean cosine to the reference that must be reached.
        max_size: with precision "auto", what the model's files may take, such as "60MB".
    """

    model: str = "demo"
    layers: int | None = None
    rank: int | None = None
    dim: int | None = None
    vocab: Sequence[str] = ()
    vocab_coverage: float | None = None
    targets: Sequence[str] = ("gguf",)
    precisions: Sequence[str] = ()
    table_precision: str | None = None
    out: Path | None = None
    allow_untrained: bool = False
    text_in: bool = False
    static: str | None = None
    vectors: str = "f32"
    calibrate: str | None = None
    min_cosine: float | None = None
    max_size: str | None = None
    soc: str | None = None
    htp_arch: int | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequest:
    """A request whose words were understood.

    Attributes:
        precisions: the formats' own names by target, each once.
        tables: the format's own name for the table alone; None leaves it to the precision.
        shape: fixed (batch, tokens), if asked for.
        chip: what "qnn" is compiled for; None without that target.
        vectors: how the vectors are stored.
        calibrate: where calibration texts come from, if any are needed.
        bound: what precision "auto" must meet.
    """

    targets: tuple[Target, ...]
    precisions: Mapping[Target, tuple[str, ...]]
    tables: Mapping[Target, str | None]
    shape: tuple[int, int] | None
    vectors: VectorPrecision
    calibrate: str | None
    bound: Bound
    chip: Chip | None


def check(request: SliceRequest) -> CheckedRequest:
    """Understand a request's words; cheap, so that nothing is opened or downloaded for a wrong one.

    Raises:
        UsageError: a word that is unknown, or options that do not go together.
    """
    targets = tuple(dict.fromkeys(parse_target(name) for name in request.targets))
    if not targets:
        raise UsageError(f"no target: choose from {', '.join(Target)}")
    _check_options(request, targets)
    asked = request.precisions or (None,)
    precisions = {t: tuple(dict.fromkeys(resolve_precision(t, name) for name in asked)) for t in targets}
    if len(precisions.get(Target.HF, ())) > 1:
        names = ", ".join(precisions[Target.HF])
        raise UsageError(f"target hf holds one precision, got {names}: make one folder for each")
    table = request.table_precision
    return CheckedRequest(
        targets=targets,
        precisions=precisions,
        tables={t: None if table is None else resolve_precision(t, table) for t in targets},
        shape=_shape(request, targets),
        vectors=parse_vectors(request.vectors),
        calibrate=_calibrate(request, precisions),
        bound=_bound(request, precisions),
        chip=find_chip(request.soc, request.htp_arch) if Target.QNN in targets else None,
    )


def _shape(request: SliceRequest, targets: Sequence[Target]) -> tuple[int, int] | None:
    """What was asked for; of a compiled graph alone, the default."""
    if request.static is not None:
        return parse_shape(request.static)
    if Target.QNN not in targets:
        return None
    if len(targets) > 1:
        raise UsageError(f"target qnn has fixed shapes, got {', '.join(targets)}: pass --static for all, or one target")
    return COMPILED_SHAPE


def _calibrate(request: SliceRequest, precisions: Mapping[Target, Sequence[str]]) -> str | None:
    auto = any(AUTO in names or "w8a16" in names for names in precisions.values())
    if request.calibrate is None and not auto:
        return None
    if Target.HF in precisions:
        raise UsageError("--calibrate is for targets that quantise, not for hf: leave one of them out")
    if not auto and all(set(names) <= FLOAT_PRECISIONS for names in precisions.values()):
        names = ", ".join(sorted(set().union(*precisions.values())))
        raise UsageError(f"--calibrate has nothing to round in {names}: choose int8, int4 or another integer precision")
    return request.calibrate or BUILTIN_TEXTS


def _bound(request: SliceRequest, precisions: Mapping[Target, Sequence[str]]) -> Bound:
    """The bound, which only precision "auto" has and must have."""
    given = request.min_cosine is not None or request.max_size is not None
    auto = any(AUTO in names for names in precisions.values())
    if auto and not given:
        raise UsageError("--precision auto needs a bound: pass --min-cosine 0.99, or --max-size 60MB")
    if given and not auto:
        raise UsageError("--min-cosine and --max-size are for --precision auto: pass that, or leave them out")
    if auto and request.table_precision is not None:
        raise UsageError("--precision auto chooses the table's precision too: leave --table-precision out")
    if request.min_cosine is not None and not 0 < request.min_cosine < 1:
        raise UsageError(f"--min-cosine {request.min_cosine:g} is not between 0 and 1, such as 0.99")
    size = None if request.max_size is None else parse_size(request.max_size)
    return Bound(min_cosine=request.min_cosine, max_bytes=size)


def _check_options(request: SliceRequest, targets: Sequence[Target]) -> None:
    others = [target for target in targets if target not in _TEXT_TARGETS]
    if request.text_in and others:
        raise UsageError(
            f"--text-in is for targets onnx and openvino, not for {', '.join(others)}: leave one of them out"
        )
    others = [target for target in targets if target not in _STATIC_TARGETS]
    if request.static is not None and (others or request.text_in):
        other = "--text-in" if request.text_in else f"target {', '.join(others)}"
        raise UsageError(f"--static is for targets onnx, openvino and qnn, not with {other}: leave one of them out")
    if Target.QNN in targets and parse_vectors(request.vectors) is VectorPrecision.INT8:
        raise UsageError(
            "--vectors int8 needs a range from 1,000 documents, hours in Qualcomm's simulator: store f32 or binary"
        )
    for option, value in (("--soc", request.soc), ("--htp-arch", request.htp_arch)):
        if value is not None and Target.QNN not in targets:
            raise UsageError(f"{option} is for target qnn, got {', '.join(targets)}: leave it out")
