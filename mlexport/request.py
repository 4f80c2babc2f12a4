"""What `slice` is asked for, as one piece of data, and the checks that need no checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlexport.errors import UsageError
from mlexport.spec import Target, VectorPrecision, parse_shape, parse_target, parse_vectors, resolve_precision

# Formats that are graphs: a tokenizer can stand in front of them, and their shapes can be fixed
_GRAPH_TARGETS = (Target.ONNX, Target.OPENVINO)


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
        static: "BATCHxTOKENS", such as "1x128": fixed shapes for accelerators ("onnx", "openvino").
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequest:
    """A request whose words were understood.

    Attributes:
        precisions: the formats' own names by target, each once.
        tables: the format's own name for the table alone; None leaves it to the precision.
        shape: fixed (batch, tokens), if asked for.
        vectors: how the vectors are stored.
    """

    targets: tuple[Target, ...]
    precisions: Mapping[Target, tuple[str, ...]]
    tables: Mapping[Target, str | None]
    shape: tuple[int, int] | None
    vectors: VectorPrecision


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
        shape=None if request.static is None else parse_shape(request.static),
        vectors=parse_vectors(request.vectors),
    )


def _check_options(request: SliceRequest, targets: Sequence[Target]) -> None:
    others = [target for target in targets if target not in _GRAPH_TARGETS]
    if request.text_in and others:
        raise UsageError(
            f"--text-in is for targets onnx and openvino, not for {', '.join(others)}: leave one of them out"
        )
    if request.static is not None and (others or request.text_in):
        other = "--text-in" if request.text_in else f"target {', '.join(others)}"
        raise UsageError(f"--static is for targets onnx and openvino, not with {other}: leave one of them out")
