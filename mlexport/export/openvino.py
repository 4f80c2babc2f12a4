"""An OpenVINO IR: target onnx's graph through OpenVINO's ONNX front end, its weights stored as constants.

The weights are compressed in the graph already (see `matmul._compressed`), from the checkpoint's rows, a block at a
time. NNCF's compress_weights (3.4) gives constants of the same form, but needs the whole model in float32 first, and
loses more: on the demo's L8-R128-D128 mean cosine .9991 in int8 and .969 in int4, for .9992 and .981 here. It also
failed on this graph now and then, in a process that had compiled a model before, with "Could not find a node
Gather_…". As its traceback reads, an output has a consumer that is not among the nodes which the model itself lists;
that this is the cause was not confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mlexport.artifact import TensorPlan
from mlexport.errors import missing_extra
from mlexport.export.files import copy_text_files, write_json
from mlexport.export.modules import write_modules
from mlexport.export.onnx import embedder_graph, kept_weights, matrix_scheme
from mlexport.model import SubModel
from mlexport.spec import INFERENCE_PRECISION

# Where sentence-transformers and optimum-intel look for it
_FILE = Path("openvino") / "openvino_model.xml"
# Stored in f16, computed in what the runtime chooses: an f16 product is no choice of the file's
_STORED = {"f16": "f16_stored"}
# See mlexport.runtime.openvino
_COMPUTED_IN_F32 = {"f32", "f16"}


def write(
    sub: SubModel,
    plan: Sequence[TensorPlan],
    folder: Path,
    advance: Callable[[int], None],
    *,
    precision: str | None = None,
) -> str:
    """Write the IR and the tokenizer's files.

    The weights are on the disk twice while it runs: OpenVINO maps the first copy into memory and writes the second
    from there, so memory holds no more than a tensor.

    Args:
        plan: one row a tensor, as `plan_openvino` makes them.
        folder: where other precisions may lie already.
        precision: what to call the file by; None: what most matrices follow.
        advance: called with the bytes of each block of the first copy.

    Returns:
        openvino/openvino_model.xml; with the precision behind it where that exists already.

    Raises:
        MissingExtraError: openvino, onnx or onnx-ir is not installed.
    """
    for module in ("openvino", "onnx", "onnx_ir"):
        if find_spec(module) is None:
            raise missing_extra(module, "openvino", "target openvino")
    (folder / _FILE).parent.mkdir(exist_ok=True)
    # Clients look for the first one's name; others say what they are
    first = not (folder / _FILE).exists()
    name = _FILE if first else _FILE.with_stem(f"{_FILE.stem}_{precision or matrix_scheme(plan)}")
    in_f32 = {row.scheme for row in plan if row.name.endswith("_proj.weight")} <= _COMPUTED_IN_F32
    with TemporaryDirectory(dir=folder, prefix="graph-") as work:
        graph = Path(work) / "model.onnx"
        _write_graph(sub, plan, graph, advance)
        _convert(graph, folder / name, computed_in_f32=in_f32)
    write_json(folder / "config.json", sub.config.raw)
    copy_text_files(sub, folder)
    # The graph's own output is cut and normalised already
    write_modules(sub, folder, sub.spec.dim)
    return name.as_posix()


def _write_graph(sub: SubModel, plan: Sequence[TensorPlan], path: Path, advance: Callable[[int], None]) -> None:
    from mlexport.export.onnx.stream import write_model  # noqa: PLC0415

    graph = embedder_graph(sub, {row.name: _STORED.get(row.scheme, row.scheme) for row in plan})
    # Beside the graph at any size: only such tensors are mapped
    write_model(graph.build({}), kept_weights(graph, sub, "openvino"), path, advance, external=True)


def _convert(graph: Path, path: Path, *, computed_in_f32: bool) -> None:
    import openvino as ov  # noqa: PLC0415

    model = ov.Core().read_model(graph)
    if computed_in_f32:
        model.set_rt_info("f32", list(INFERENCE_PRECISION))
    # The plan has said what is f16
    ov.save_model(model, path, compress_to_fp16=False)
