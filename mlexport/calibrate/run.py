"""Calibration as the exporter sees it: texts in, a cut with chosen roundings or measured losses out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mlexport import process
from mlexport.artifact import TensorPlan
from mlexport.calibrate.texts import CalibrationTexts
from mlexport.errors import CalibrationError, missing_extra
from mlexport.facts import CalibrationFacts, Outlier, Range
from mlexport.model import SubModel
from mlexport.quantize.ggml import Bytes
from mlexport.quantize.graph_plan import PEAKED_ERROR, WITH_ACTIVATIONS
from mlexport.spec import Target
from mlexport.tensors import Float32, LazyTensor

# Other texts may go a little further than those of the calibration
ROOM = 1.2
# Texts whose final vectors the sweep compares
MEASURED_TEXTS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """A cut whose matrices were rounded on text, and which has the ranges of activations that are whole numbers.

    Attributes:
        rows: the plan, saying so.
    """

    sub: SubModel
    rows: tuple[TensorPlan, ...]
    facts: CalibrationFacts


def round_on_text(
    sub: SubModel,
    target: Target,
    rows: Sequence[TensorPlan],
    texts: CalibrationTexts,
    *,
    work: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> Rounded:
    """Choose every matrix's codes so that its products stay true on the texts.

    Args:
        rows: the plan; its schemes stay as they are.
        work: an empty folder for the rounded matrices, which the returned cut reads from there.
        advance: told the bytes of each matrix that is done, as planned.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        CalibrationError: the child process failed.
    """
    sizes = {row.name: row.bytes for row in rows}
    schemes = {row.name: row.scheme for row in rows}
    found = _run(sub, texts, work, {"job": "round", "target": target, "schemes": schemes}, sizes=sizes, advance=advance)
    done = {path.stem for path in work.glob("*.npy")}
    tensors = {
        name: _stored(tensor, work / f"{name}.npy") if name in done else tensor for name, tensor in sub.tensors.items()
    }
    named = tuple(replace(row, reason=row.reason + _remark(row)) if row.name in done else row for row in rows)
    ranges = {name: _ranges(ends) for name, ends in found["ranges"].items()}
    named = tuple(_without_peaks(row, found["ranges"].get(row.name)) for row in named)
    outliers = tuple(Outlier(**{**one, "columns": tuple(one["columns"])}) for one in found["outliers"])
    facts = CalibrationFacts(
        name=texts.name, sha256=texts.sha256, texts=len(texts.texts), tokens=found["tokens"], outliers=outliers
    )
    return Rounded(sub=replace(sub, tensors=tensors, ranges=ranges), rows=named, facts=facts)


def _ranges(ends: Mapping[str, float]) -> tuple[Range, Range]:
    """Of a matrix's input and product, with room for other texts."""
    taken, given = (Range(low=ends[f"{side}_low"] * ROOM, high=ends[f"{side}_high"] * ROOM) for side in ("in", "out"))
    return taken, given


def _without_peaks(row: TensorPlan, ends: Mapping[str, float] | None) -> TensorPlan:
    """The row, in f16 where steps of a uint16 would be too wide for a usual row of its input or product."""
    if ends is None or row.scheme != WITH_ACTIVATIONS:
        return row
    errors = {
        side: (ends[f"{side}_high"] - ends[f"{side}_low"]) * ROOM / 65535 / 12**0.5 / max(ends[f"{side}_typical"], 1e-9)
        for side in ("in", "out")
    }
    side = max(errors, key=lambda one: errors[one])
    if errors[side] <= PEAKED_ERROR:
        return row
    what = {"in": "inputs", "out": "products"}[side]
    reason = f"{row.reason}; {what} have peaks, uint16 would cost {errors[side]:.1%} of a usual one: f16"
    return replace(row, scheme="f16", block=None, symmetric=None, bytes=prod(row.shape) * 2, reason=reason)


def measure_losses(
    sub: SubModel,
    target: Target,
    schemes: Mapping[str, Sequence[str]],
    *,
    table: str,
    texts: CalibrationTexts,
    work: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> Mapping[str, Mapping[str, float]]:
    """What each tensor costs at each scheme, alone: tensor -> scheme -> loss (1 - mean cosine of the final vectors).

    Args:
        schemes: tensor -> what to try, the looked-up table's under the name `table`.
        advance: told 1 for each tensor that is done.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        CalibrationError: the child process failed.
    """
    count = len(texts.texts)
    measured = sorted({place * count // MEASURED_TEXTS for place in range(MEASURED_TEXTS)})
    request = {"job": "sweep", "target": target, "schemes": schemes, "table": table, "measured": measured}
    losses: Mapping[str, Mapping[str, float]] = _run(sub, texts, work, request, sizes={}, advance=advance)["losses"]
    return losses


def _remark(row: TensorPlan) -> str:
    if len(row.shape) == 1:
        return "; took up the sizes of the columns behind it, which are alike now"
    return "; rounded on calibration text" if row.block is not None else "; its columns made alike"


def _stored(tensor: LazyTensor, path: Path) -> LazyTensor:
    """The tensor as the child left it: numbers, or bytes of the file."""
    content = np.load(path, mmap_mode="r")
    if content.dtype == np.uint8:

        def packed() -> Sequence[Bytes]:
            return [np.ascontiguousarray(content).reshape(-1)]

        return replace(tensor, packed=lambda: iter(packed()))

    def read_rows(start: int, stop: int) -> Float32:
        return np.array(content[start:stop])

    return replace(tensor, read_rows=read_rows)


def _run(
    sub: SubModel,
    texts: CalibrationTexts,
    work: Path,
    job: Mapping[str, object],
    *,
    sizes: Mapping[str, int],
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Run the child; its facts."""
    for module in ("torch", "transformers"):
        if find_spec(module) is None:
            raise missing_extra(module, "torch", "calibration")
    prompt = sub.checkpoint.text.prompts.get("query", "")
    request = {
        "folder": str(sub.checkpoint.folder.resolve()),
        # Moments are the same with every token: a slice of the vocabulary changes no vector of a text it can spell
        "spec": replace(sub.spec, vocab=None).name,
        # Queries and documents in turn
        "texts": [prompt + text if place % 2 else text for place, text in enumerate(texts.texts)],
        **job,
    }
    (work / "request.json").write_text(json.dumps(request), encoding="utf-8")
    arguments = [work / "request.json", work]
    code = process.run("mlexport.calibrate.child", arguments, work, lambda line: advance(sizes.get(line, 1)))
    if code != 0:
        raise CalibrationError(f"calibration stopped with exit code {code}: {process.last_words(work)}")
    facts: dict[str, Any] = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    return facts
