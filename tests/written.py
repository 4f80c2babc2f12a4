"""A cut written by one format's exporter, with the bytes that were planned."""

from __future__ import annotations

from pathlib import Path

from mlexport import export
from mlexport.checkpoint import open_checkpoint
from mlexport.model import SubModel
from mlexport.quantize.plan import plan_tensors
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
