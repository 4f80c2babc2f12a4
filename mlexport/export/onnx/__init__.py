"""An ONNX file: `input_ids`, `attention_mask` in, `sentence_embedding` out, built node by node from the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mlexport.artifact import TensorPlan
from mlexport.errors import missing_extra
from mlexport.export.files import copy_text_files, write_json
from mlexport.export.modules import write_modules
from mlexport.model import TABLE, TABLE_LEFT, TABLE_RIGHT, SubModel
from mlexport.retained import FLOAT_VECTORS, StoredVectors

if TYPE_CHECKING:
    from mlexport.export.onnx.graph import EmbedderGraph, Source
    from mlexport.export.onnx.stream import Weight

# Where sentence-transformers and transformers.js look for them
_FILES = {
    "f32": "model.onnx",
    "f16": "model_fp16.onnx",
    "int8": "model_quantized.onnx",
    "int8_b32": "model_int8.onnx",
    "int4_b32": "model_q4.onnx",
    "int4_b64": "model_q4_b64.onnx",
    "int4_b128": "model_q4_b128.onnx",
    "auto": "model_auto.onnx",
}


def write(
    sub: SubModel,
    plan: Sequence[TensorPlan],
    folder: Path,
    advance: Callable[[int], None],
    *,
    precision: str | None = None,
) -> str:
    """Write the graph, its tensors in blocks of rows, and the tokenizer's files.

    Args:
        plan: one row a tensor, as `plan_onnx` makes them.
        folder: where other precisions may lie already.
        precision: what to call the file by; None: what most matrices follow.
        advance: called with the bytes of each block written.

    Returns:
        The model's path in the folder, such as onnx/model_quantized.onnx.

    Raises:
        MissingExtraError: onnx or onnx-ir is not installed.
    """
    for module in ("onnx", "onnx_ir"):
        if find_spec(module) is None:
            raise missing_extra(module, "onnx", "target onnx")
    from mlexport.export.onnx.stream import write_model  # noqa: PLC0415

    graph = embedder_graph(sub, {row.name: row.scheme for row in plan})
    model = graph.build({"mlexport.spec": sub.spec.name, "mlexport.model": sub.checkpoint.name})
    name = Path("onnx") / _FILES[precision or matrix_scheme(plan)]
    if sub.shape is not None:
        name = name.with_stem(f"{name.stem}_{sub.shape[0]}x{sub.shape[1]}")
    (folder / name).parent.mkdir(exist_ok=True)
    write_model(model, kept_weights(graph, sub, "onnx"), folder / name, advance)
    write_json(folder / "config.json", sub.config.raw)
    copy_text_files(sub, folder)
    # The graph's own output is cut and normalised already
    write_modules(sub, folder, sub.spec.dim)
    return name.as_posix()


def embedder_graph(sub: SubModel, schemes: Mapping[str, str]) -> EmbedderGraph:
    """A cut's graph, still to be built; a rank cut's table stays two factors.

    Args:
        schemes: tensor name -> a key of `matmul.SCHEMES`, or of `table.LOOKUPS` for what is looked up.
    """
    from mlexport.export.onnx.graph import EmbedderGraph, Options  # noqa: PLC0415
    from mlexport.export.onnx.static import StaticGraph  # noqa: PLC0415

    source = source_of(sub, schemes, stored=sub.stored)
    return EmbedderGraph(source, Options()) if sub.shape is None else StaticGraph(source, *sub.shape)


def source_of(sub: SubModel, schemes: Mapping[str, str], *, stored: StoredVectors = FLOAT_VECTORS) -> Source:
    """What a cut's graph is built from; `stored` as of `Source`."""
    from mlexport.export.onnx.graph import Source  # noqa: PLC0415

    tensors = {name: tensor for name, tensor in sub.tensors.items() if name != TABLE or sub.factors is None}
    if sub.factors is not None:
        tensors |= dict(zip((TABLE_LEFT, TABLE_RIGHT), sub.factors, strict=True))
    return Source(config=sub.config, tensors=tensors, schemes=schemes, dim=sub.spec.dim, stored=stored)


def kept_weights(graph: EmbedderGraph, sub: SubModel, form: str) -> list[Weight]:
    """The graph's tensors; matrices that other cuts of the checkpoint share are made once, where it says so.

    Args:
        form: what their bytes depend on beside their scheme: "onnx", "openvino".
    """
    found = []
    for weight in graph.b.weights:
        # A matrix is named as in the checkpoint, its scales have a suffix
        name = weight.name.removesuffix(".scale")
        scheme = graph.source.schemes.get(name)
        if scheme is not None:
            whole = f"{form} {scheme} {weight.dtype} {weight.shape}" + (" scale" if weight.name != name else "")
            weight = replace(weight, chunks=partial(sub.packed_once, name, whole, weight.chunks))  # noqa: PLW2901
        found.append(weight)
    return found


def matrix_scheme(plan: Sequence[TensorPlan]) -> str:
    """The scheme of most of the layers' matrices."""
    return Counter(row.scheme for row in plan if row.name.endswith("_proj.weight")).most_common(1)[0][0]
