"""A model file written as a stream: the graph first, then one tensor after the other, never all in memory.

A protobuf message is its fields one after the other, in any order, each with its length in front. So the
graph is serialised without its tensors, and every tensor is appended to it as a field that is streamed.
Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto

# (field number << 3) | 2, "length-delimited"
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7 << 3 | 2, 5 << 3 | 2, 9 << 3 | 2
# A protobuf message ends below 2 GiB; the rest is for the graph itself
INLINE_LIMIT = 2**31 - 2**24
# ONNX Runtime and OpenVINO map a tensor into memory where it starts on a page
_PAGE = 4096

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor of the graph whose bytes are made while the file is written.

    Attributes:
        chunks: its values in order, as arrays whose bytes are the file's (little-endian, packed).
        planned: whether its bytes are the plan's; the graph's own constants (a few hundred bytes) are not.
    """

    name: str
    dtype: ir.DataType
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[Array]]
    planned: bool = True

    @property
    def bytes(self) -> int:
        """Bytes in the file."""
        return -(-prod(self.shape) * self.dtype.bitwidth // 8)


def constant(name: str, values: Array) -> Weight:
    """A small tensor that is already there."""
    dtype = ir.DataType.from_numpy(values.dtype)
    return Weight(name=name, dtype=dtype, shape=values.shape, chunks=lambda: iter((values,)), planned=False)


def write_model(
    model: ir.Model, weights: Sequence[Weight], path: Path, advance: Callable[[int], None], *, external: bool = False
) -> None:
    """Write `model`, whose nodes refer to `weights` by name, to `path`.

    Tensors go into the file itself, or, where that would reach protobuf's limit of 2 GiB, into one beside it
    with the same name and `_data` at its end.

    Args:
        advance: called with the bytes of each block of tensor data.
        external: tensors go beside the file at any size; the graph's own constants, which shapes follow from, never.
    """
    if not external and sum(weight.bytes for weight in weights) < INLINE_LIMIT:
        headers = [_inline_header(weight) for weight in weights]
        with path.open("wb") as file:
            _write_graph(file, model, [len(h) + w.bytes for h, w in zip(headers, weights, strict=True)], headers)
            for header, weight in zip(headers, weights, strict=True):
                file.write(_field(_GRAPH_INITIALIZER, len(header) + weight.bytes) + header)
                _write_chunks(file, weight, advance)
        return
    _write_external(model, weights, path, advance)


def _write_external(model: ir.Model, weights: Sequence[Weight], path: Path, advance: Callable[[int], None]) -> None:
    data = path.with_name(path.name + "_data")
    headers, offset = [], 0
    with data.open("wb") as file:
        for weight in weights:
            if not weight.planned:
                raw = b"".join(np.ascontiguousarray(chunk).tobytes() for chunk in weight.chunks())
                headers.append(_inline_header(weight) + raw)
                continue
            file.write(bytes(-offset % _PAGE))
            offset += -offset % _PAGE
            headers.append(_external_header(weight, data.name, offset))
            _write_chunks(file, weight, advance)
            offset += weight.bytes
    with path.open("wb") as file:
        _write_graph(file, model, [len(header) for header in headers], headers)
        for header in headers:
            file.write(_field(_GRAPH_INITIALIZER, len(header)) + header)


def _write_graph(file: BinaryIO, model: ir.Model, tensor_bytes: Sequence[int], headers: Sequence[bytes]) -> None:
    """Everything of the model up to the graph's first tensor."""
    proto = ir.to_proto(model)
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    tensors = sum(len(_field(_GRAPH_INITIALIZER, size)) + size for size in tensor_bytes)
    file.write(proto.SerializeToString() + _field(_MODEL_GRAPH, len(graph) + tensors) + graph)


def _inline_header(weight: Weight) -> bytes:
    proto = TensorProto(dims=weight.shape, data_type=weight.dtype.value, name=weight.name)
    header: bytes = proto.SerializeToString()
    return header + _field(_TENSOR_RAW_DATA, weight.bytes)


def _external_header(weight: Weight, file: str, offset: int) -> bytes:
    proto = TensorProto(dims=weight.shape, data_type=weight.dtype.value, name=weight.name)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", str(offset)), ("length", str(weight.bytes))):
        proto.external_data.add(key=key, value=value)
    header: bytes = proto.SerializeToString()
    return header


def _write_chunks(file: BinaryIO, weight: Weight, advance: Callable[[int], None]) -> None:
    written = 0
    for chunk in weight.chunks():
        size = file.write(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data)
        written += size
        if weight.planned:
            advance(size)
    # A wrong length would shift every field behind it: the file would not open, and the message would say nothing
    assert written == weight.bytes, f"{weight.name}: {written} bytes written, {weight.bytes} announced"


def _field(tag: int, length: int) -> bytes:
    """The tag of a length-delimited field (numbers below 16: one byte) and its length as a varint."""
    out = bytearray((tag,))
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)
