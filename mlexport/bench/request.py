"""What is to be measured, as data: it travels to the machine that measures, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from mlexport.decode import decode
from mlexport.errors import UsageError
from mlexport.runtime.settings import Settings

FORMAT_VERSION = 1
DEFAULT_TOKENS = (16, 32, 64, 128, 256, 512)
HERE = "here"
# A request names a few dozen folders
_LIMIT_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A model file in one setting of its runtime.

    Attributes:
        artifact: its folder, on the machine that measures.
        variant: which of its model files; None takes the first.
        settings: where and how it runs.
        shown: what the result calls the folder; None takes `artifact`. A copy on a board is shown as the original.
    """

    artifact: str
    variant: str | None = None
    settings: Settings = field(default_factory=Settings)
    shown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """Every contestant in every combination of tokens, batch and streams; all of them in turn.

    Attributes:
        profile: name of the device profile, for the result.
        where: "here", "ssh://…" or "adb:…", for the result.
        contestants: the first one is what the ratios are to.
        tokens: of each text, the end token included; None takes those of 16 to 512 that every contestant has room for.
        batches: texts in a call. None takes the size that a static graph has, else 1.
        streams: calls at the same time, each from a thread of its own.
        min_calls, min_seconds: both are met by the kept calls of each contestant in each combination.
        rounds: turns that each contestant gets; the order rotates from round to round.
        pause_seconds: between two turns, for threads of the last one to come to rest.
        notes: sentences for the result's method, from whoever made the request.
    """

    profile: str = "local"
    where: str = HERE
    contestants: tuple[Contestant, ...]
    tokens: tuple[int, ...] | None = None
    batches: tuple[int, ...] | None = None
    streams: tuple[int, ...] = (1,)
    min_calls: int = 50
    min_seconds: float = 2.0
    rounds: int = 7
    pause_seconds: float = 0.1
    notes: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION


def check(request: BenchRequest) -> None:
    """Refuse numbers that make no sense.

    Raises:
        UsageError: one of them, with what was given and the limit.
    """
    if not request.contestants:
        raise UsageError("nothing to measure: give the folder of one or more artifacts")
    several = {"--batch": request.batches, "--streams": request.streams}
    for name, values in several.items():
        if values is not None and (not values or min(values) < 1):
            raise UsageError(f"{name} is {', '.join(map(str, values)) or 'empty'}: the least is 1")
    if request.tokens is not None and not request.tokens:
        raise UsageError("--tokens is empty: give one or more lengths")
    if request.tokens is not None and min(request.tokens) < 4:
        raise UsageError(f"--tokens is {min(request.tokens)}: the least is 4, the end token included")
    least = {"--min-calls": (request.min_calls, 3), "--rounds": (request.rounds, 1)}
    for name, (value, limit) in least.items():
        if value < limit:
            raise UsageError(f"{name} is {value}: the least is {limit}")
    if not 0 <= request.min_seconds < 3600:
        raise UsageError(f"--min-seconds is {request.min_seconds}: expected 0 to 3600")
    if len(request.contestants) > 1 and request.rounds < 3:
        raise UsageError(f"--rounds is {request.rounds}: the least is 3 where several artifacts are compared")
    for one in request.contestants:
        if one.settings.threads is not None and one.settings.threads < 1:
            raise UsageError(f"--threads is {one.settings.threads}: the least is 1")


def request_json(request: BenchRequest) -> str:
    """The text of a request file."""
    return json.dumps(asdict(request), ensure_ascii=False, indent=1) + "\n"


def read_request(path: Path) -> BenchRequest:
    """A request file.

    Raises:
        UsageError: no such file, or another form.
    """
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise UsageError(f"{path} is {path.stat().st_size:,} bytes long: not a request of `mlexport bench`")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {' '.join(str(error).split())}") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if version != FORMAT_VERSION:
        raise UsageError(f"{path} is a request of format_version {version!r}, this mlexport reads {FORMAT_VERSION}")
    try:
        return cast(BenchRequest, decode(BenchRequest, data, ""))
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
