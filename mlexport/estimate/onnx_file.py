"""The graph of an ONNX file, its tensors' data left on the disk.

A model of 300 MB has some hundred KB of nodes. The file is mapped, its messages are walked field by field (protocol
buffers' wire format: https://protobuf.dev/programming-guides/encoding/), and what `onnx` then parses is the same
model without the bytes of large tensors.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlexport.errors import ArtifactError, missing_extra
from mlexport.estimate.graph import Graph, Stored, work_of
from mlexport.estimate.shapes import SMALL, Node, Value, of
from mlexport.estimate.work import Work
from mlexport.spec import Target

if TYPE_CHECKING:
    import onnx

# Field numbers of onnx.proto
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9
# What shapes are computed from is smaller
_KEPT_BYTES = 8 * SMALL
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BITS = {"uint4": 4, "int4": 4, "bool": 8, "uint8": 8, "int8": 8, "float16": 16, "bfloat16": 16, "float": 32}
_NAMES = {"float": "f32", "float16": "f16", "bfloat16": "bf16"}
_WIDE_BITS = 64


def onnx_work(path: Path) -> Work:
    """What one call of the file does.

    Raises:
        ArtifactError: not an ONNX file, or one whose operations cannot be counted.
        MissingExtraError: onnx is not installed.
    """
    model = _light_model(path)
    operators = [f"{node.domain}.{node.op_type}".lstrip(".") for node in model.graph.node]
    return work_of(_graph(model), operators, str(path))


def _light_model(path: Path) -> onnx.ModelProto:
    try:
        import onnx  # noqa: PLC0415
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        raise missing_extra("onnx", "onnx", "counting the operations of an ONNX file") from None
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            model = onnx.ModelProto()
            model.ParseFromString(_without_tensors(data))
            return model
    except (OSError, ValueError, IndexError, DecodeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ArtifactError(f"{path} cannot be read as an ONNX file: {reason}") from None


def _without_tensors(data: mmap.mmap) -> bytes:
    light = bytearray()
    for number, start, begin, stop in _fields(data, 0, len(data)):
        if number != _MODEL_GRAPH:
            light += data[start:stop]
            continue
        graph = bytearray()
        for inner, at, first, end in _fields(data, begin, stop):
            graph += _light_tensor(data, first, end) if inner == _GRAPH_INITIALIZER else data[at:end]
        light += _message(_MODEL_GRAPH, graph)
    return bytes(light)


def _light_tensor(data: mmap.mmap, begin: int, stop: int) -> bytes:
    kept = bytearray()
    for number, start, first, end in _fields(data, begin, stop):
        if number != _TENSOR_RAW_DATA or end - first <= _KEPT_BYTES:
            kept += data[start:end]
    return _message(_GRAPH_INITIALIZER, kept)


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Fields of a message: number, where it starts, where its content starts, where it ends."""
    while start < stop:
        tag, at = _varint(data, start)
        kind, first = tag & 7, at
        if kind == _VARINT:
            _, end = _varint(data, at)
        elif kind == _BYTES:
            length, first = _varint(data, at)
            end = first + length
        elif kind in (_FIXED32, _FIXED64):
            end = at + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"field of kind {kind} at byte {start}")
        if end > stop:
            raise ValueError(f"a field at byte {start} is longer than the file")
        yield tag >> 3, start, first, end
        start = end


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift >= _WIDE_BITS:
            raise ValueError(f"no number at byte {at}")


def _message(number: int, content: bytes | bytearray) -> bytes:
    out, length = bytearray((number << 3 | _BYTES,)), len(content)
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out) + content


def _graph(model: onnx.ModelProto) -> Graph:
    import onnx  # noqa: PLC0415

    stored, values = {}, {}
    for tensor in model.graph.initializer:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        numbers = int(np.prod(tensor.dims)) if tensor.dims else 1
        size = -(-numbers * _BITS.get(kind, _WIDE_BITS) // 8)
        stored[tensor.name] = Stored(shape=tuple(tensor.dims), dtype=_NAMES.get(kind, kind), bytes=size)
        values[tensor.name] = _known(tensor, size)
    inputs = {}
    for one in model.graph.input:
        sizes = [dim.dim_value for dim in one.type.tensor_type.shape.dim]
        inputs[one.name] = tuple(sizes) if all(sizes) else None
    nodes = [_node(node) for node in model.graph.node]
    return Graph(target=Target.ONNX, nodes=nodes, inputs=inputs, stored=stored, values=values)


def _known(tensor: onnx.TensorProto, size: int) -> Value:
    from onnx import numpy_helper  # noqa: PLC0415

    weights = frozenset((tensor.name,))
    if len(tensor.raw_data) == size <= _KEPT_BYTES:
        return of(numpy_helper.to_array(tensor), weights)
    return Value(shape=tuple(tensor.dims), weights=weights)


def _node(node: onnx.NodeProto) -> Node:
    import onnx  # noqa: PLC0415

    attributes: dict[str, Any] = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return Node(
        kind=node.op_type,
        name=node.name,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
    )
