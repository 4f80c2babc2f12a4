"""A file that takes strings: the tokenizer as nodes of onnxruntime-extensions in front of the same graph.

The operator reads tokenizer.json, but neither normalises nor appends the end token, and tells no lengths. So the
end token is appended to the string, where it is parsed as the special token it is: its last place in a row of ids
is the text's end. Longer texts are cut there, the end token kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from mlexport.artifact import TensorPlan
from mlexport.errors import ExportError, missing_extra
from mlexport.export.onnx import embedder_graph
from mlexport.export.onnx.builder import EXTENSIONS, Builder, Value
from mlexport.export.onnx.graph import Options
from mlexport.export.onnx.nfc import compose
from mlexport.export.onnx.stream import write_model
from mlexport.export.token_ids import compared_limit, require_equal_ids
from mlexport.model import SubModel, TextFacts


def write_text_in(
    sub: SubModel, plan: Sequence[TensorPlan], folder: Path, model: str, advance: Callable[[int], None]
) -> str:
    """Write a file that takes `text` (strings [batch]) beside the one that takes ids.

    It gives `sentence_embedding`, and the `input_ids` and `attention_mask` it was made from.

    Args:
        plan: the plan of `model`.
        model: the file in `folder` that takes ids; `_text` is put behind its name.
        advance: called with the bytes of each block written.

    Returns:
        The file's path in the folder, such as onnx/model_quantized_text.onnx.

    Raises:
        ExportError: the operator's token ids differ from tokenizer.json's on a probe text.
        MissingExtraError: onnxruntime or onnxruntime-extensions is not installed.
    """
    for module, extra in (("onnxruntime", "onnx"), ("onnxruntime_extensions", "text")):
        if find_spec(module) is None:
            raise missing_extra(module.replace("_", "-"), extra, "--text-in")
    tokenizer = sub.tokenizer()
    name = Path(model).with_stem(f"{Path(model).stem}_text")
    _require_equal_ids(tokenizer, sub.text, (folder / name).with_name("tokenizer.onnx"))
    graph = embedder_graph(sub, {row.name: row.scheme for row in plan})
    graph.options = Options(broadcast=False)
    graph.text = _text_input()
    graph.ids, graph.mask = _tokens(graph.b, graph.text, tokenizer, sub.text)
    _declare(graph.ids, "input_ids")
    _declare(graph.mask, "attention_mask")
    built = graph.build({"mlexport.spec": sub.spec.name, "mlexport.model": sub.checkpoint.name})
    write_model(built, graph.b.weights, folder / name, advance)
    return name.as_posix()


def _declare(value: Value, name: str) -> None:
    value.name, value.dtype, value.shape = name, ir.DataType.INT64, ir.Shape(["batch", "sequence"])


def _text_input() -> Value:
    return ir.val("text", ir.DataType.STRING, ["batch"])


def _tokens(
    b: Builder, text: Value, tokenizer: Mapping[str, Any], facts: TextFacts, limit: int | None = None
) -> tuple[Value, Value]:
    """Ids and mask, int64 [batch, sequence], padded right, cut to `limit` (the checkpoint's own by default)."""
    b.scope("tokenizer")
    end = b.op("Constant", value_strings=[facts.end_token])
    joined = b.op("StringConcat", text, end)
    if (tokenizer.get("normalizer") or {}).get("type") == "NFC":
        joined = compose(b, joined)
        b.scope("tokenizer")
    vocabulary, settings = _operator_files(tokenizer, facts)
    rows = b.op("HfJsonTokenizer", joined, domain=EXTENSIONS, tokenizer_vocab=vocabulary, tokenizer_config=settings)
    width = b.op("Gather", b.op("Shape", rows), b.const(1))
    positions = b.op("Unsqueeze", b.op("Range", b.const(0), width, b.const(1)), b.const([0]))
    ends = b.op("Where", b.op("Equal", rows, b.const(facts.end_id)), positions, b.const(0))
    last = b.op("ReduceMax", ends, b.const([1]), keepdims=1)
    last = b.op("Min", last, b.const((limit or facts.max_length) - 1))
    ids = b.op("Where", b.op("Equal", positions, last), b.const(facts.end_id), rows)
    mask = b.op("Cast", b.op("LessOrEqual", positions, last), to=ir.DataType.INT64.value)
    stop = b.op("Add", b.op("ReduceMax", last, keepdims=0), b.const([1]))
    ids, mask = (b.op("Slice", value, b.const([0]), stop, b.const([1])) for value in (ids, mask))
    return ids, mask


def _operator_files(tokenizer: Mapping[str, Any], facts: TextFacts) -> tuple[str, str]:
    """tokenizer.json and tokenizer_config.json for the operator."""
    # Ids behind a text's end must not look like its end
    padding = next(token for token, number in tokenizer["model"]["vocab"].items() if number != facts.end_id)
    settings = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": padding}
    content = {**tokenizer, "normalizer": None, "post_processor": None}
    return json.dumps(content, ensure_ascii=False), json.dumps(settings, ensure_ascii=False)


def _require_equal_ids(tokenizer: Mapping[str, Any], facts: TextFacts, file: Path) -> None:
    """Compare the nodes' ids with tokenizer.json's on the probe texts; `file` is written for that, and removed."""
    try:
        write_tokenizer(tokenizer, facts, compared_limit(facts), file)
        require_equal_ids(tokenizer, facts, partial(_run_tokenizer, file))
    finally:
        file.unlink(missing_ok=True)


def write_tokenizer(tokenizer: Mapping[str, Any], facts: TextFacts, limit: int, file: Path) -> None:
    """Write the tokenizer alone: `text` in, `ids` and `mask` out, cut to `limit`."""
    b = Builder()
    text = _text_input()
    outputs = _tokens(b, text, tokenizer, facts, limit)
    for value, name in zip(outputs, ("ids", "mask"), strict=True):
        _declare(value, name)
    write_model(b.model([text], outputs, {}), b.weights, file, lambda _: None)


def _run_tokenizer(file: Path, texts: Sequence[str]) -> list[list[int]]:
    """Ids of texts, each alone in its batch.

    Raises:
        ExportError: the operator cannot read this tokenizer.
    """
    import onnxruntime as ort  # noqa: PLC0415
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException  # noqa: PLC0415
    from onnxruntime_extensions import get_library_path  # noqa: PLC0415

    options = ort.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    # Errors come as exceptions too
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        runs = [session.run(["ids", "mask"], {"text": np.array([text], dtype=object)}) for text in texts]
    except (Fail, InvalidArgument, RuntimeException) as error:
        reason = " ".join(str(error).split())[-160:]
        raise ExportError(f"--text-in is refused: onnxruntime-extensions cannot run this tokenizer: {reason}") from None
    return [ids[0][mask[0] == 1].tolist() for ids, mask in runs]
