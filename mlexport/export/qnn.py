"""A context binary for Qualcomm's NPUs: target onnx's static graph, compiled whole with the CPU fallback disabled.

`input_ids` and `attention_mask` in, `sentence_embedding` out, as of every other file: the token table is in the binary,
so that an app brings a tokenizer and nothing else. ONNX Runtime opens the wrapper, whose one node names the binary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from mlexport.artifact import TensorPlan
from mlexport.errors import ExportError
from mlexport.export.files import copy_text_files, write_json
from mlexport.export.onnx import matrix_scheme, source_of
from mlexport.facts import CompiledFacts
from mlexport.model import TABLE, TABLE_LEFT, SubModel
from mlexport.npu.htp import wrapper_facts
from mlexport.npu.simulator import compile_graph, require_compiler, simulated

# Stored in f16 and restored: the compiler makes f16 of it again
_STORED = {"f16": "f16_stored"}
# Of the planned bytes; what is compiled has a few more
_LEAST = 0.8


def write(
    sub: SubModel,
    plan: Sequence[TensorPlan],
    folder: Path,
    advance: Callable[[int], None],
    *,
    precision: str | None = None,
) -> str:
    """Write the graph beside, compile it for the cut's chip, and copy the tokenizer's files.

    Args:
        plan: one row a tensor, as `plan_qnn` makes them.
        folder: where other precisions may lie already.
        precision: what to call the file by; None: what most matrices follow.
        advance: called with the bytes of each block of the graph.

    Returns:
        The wrapper's path in the folder, such as qnn/model_f16_1x128_sm8650.onnx.

    Raises:
        ExportError: not on Linux x86-64, or the compiler did not take an operator.
        MissingExtraError: onnxruntime-qnn, onnxruntime, onnx or onnx-ir is not installed.
    """
    require_compiler()
    assert sub.shape is not None, "shape of a compiled graph"
    assert sub.chip is not None, "chip of a compiled graph"
    batch, tokens = sub.shape
    name = Path("qnn") / f"model_{precision or matrix_scheme(plan)}_{batch}x{tokens}_{sub.chip.soc}.onnx"
    (folder / name).parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix="graph-") as work:
        graph = Path(work) / "model.onnx"
        _write_graph(sub, plan, graph, advance)
        metadata = {"spec": sub.spec.name, "model": sub.checkpoint.name, "soc": sub.chip.soc}
        compile_graph(graph, folder / name, sub.chip, metadata)
    _require_weights(folder / name, plan)
    write_json(folder / "config.json", sub.config.raw)
    copy_text_files(sub, folder)
    return name.as_posix()


def compiled_facts(sub: SubModel, wrapper: Path) -> CompiledFacts:
    """What a written wrapper was compiled with."""
    assert sub.shape is not None, "shape of a compiled graph"
    assert sub.chip is not None, "chip of a compiled graph"
    found, sdk = wrapper_facts(wrapper)
    return CompiledFacts(
        soc=sub.chip.soc,
        chip=sub.chip.name,
        soc_model=sub.chip.soc_model,
        htp_arch=sub.chip.htp_arch,
        batch=sub.shape[0],
        tokens=sub.shape[1],
        sdk=sdk,
        provider=f"onnxruntime-qnn {version('onnxruntime-qnn')}",
        runtime=f"onnxruntime {version('onnxruntime')}",
        nodes=int(found["nodes"]),
        ran="simulator" if simulated() else "device",
    )


def _require_weights(wrapper: Path, plan: Sequence[TensorPlan]) -> None:
    """Refuse a binary without its weights: the compiler ends well, and leaves out those that it takes for zeros.

    Raises:
        ExportError: it is too small.
    """
    size, planned = wrapper.with_suffix(".bin").stat().st_size, sum(row.bytes for row in plan)
    if size < _LEAST * planned:
        raise ExportError(
            f"Qualcomm's compiler left weights out: the binary has {size:,} bytes, the plan {planned:,}. "
            "Are the checkpoint's numbers zeros?"
        )


def _write_graph(sub: SubModel, plan: Sequence[TensorPlan], path: Path, advance: Callable[[int], None]) -> None:
    from mlexport.export.onnx.npu import NpuGraph  # noqa: PLC0415
    from mlexport.export.onnx.stream import write_model  # noqa: PLC0415

    assert sub.shape is not None
    looked_up = (TABLE, TABLE_LEFT)
    schemes = {row.name: row.scheme if row.name in looked_up else _STORED.get(row.scheme, row.scheme) for row in plan}
    graph = NpuGraph(source_of(sub, schemes), *sub.shape, sub.ranges)
    # Beside the graph at any size: only such tensors are mapped
    write_model(graph.build({}), graph.b.weights, path, advance, external=True)
