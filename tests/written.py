"""Cuts written for tests: by an exporter alone, or the whole way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlexport import export
from mlexport.checkpoint import open_checkpoint
from mlexport.model import SubModel
from mlexport.pipeline import slice_model
from mlexport.quantize.plan import plan_tensors
from mlexport.request import SliceRequest
from mlexport.results import SliceResult
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, parse_target


def write_cut(
    checkpoint: Path, out: Path, spec: str, *, target: str, precision: str = "f32", table: str | None = None
) -> tuple[SubModel, Path]:
    """The cut, and the file (for `hf` the folder) that a runtime opens."""
    sub = cut(open_checkpoint(str(checkpoint)), SubModelSpec.parse(spec), allow_untrained=True)
    out.mkdir(exist_ok=True)
    plan = plan_tensors(sub, parse_target(target), precision, table)
    written: list[int] = []
    name = export.load(parse_target(target)).write(sub, plan, out, written.append)
    assert sum(written) == sum(row.bytes for row in plan)
    return sub, out / name


def sliced(model: Path, out: Path, *, verify: str = "full", **options: Any) -> list[SliceResult]:
    """Artifacts; `options` are those of `SliceRequest`."""
    return slice_model(SliceRequest(model=str(model), out=out, **options), verify=verify)
