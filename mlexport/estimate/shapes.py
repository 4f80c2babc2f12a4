"""Shapes of a graph's values for given input shapes, without any tensor's data.

Enough of ONNX and OpenVINO for the graphs of this package and others of their kind: operators that give a shape
from shapes, and the small integers that shapes are computed from. What is not known stays unknown (shape None), and
only where a product needs it is that an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Values that shapes are computed from are this small
SMALL = 256
Shape = tuple[int, ...]
Data = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor without its data.

    Attributes:
        shape: None where it is not known.
        data: of small integer tensors that follow from shapes and constants.
        weights: names of the stored tensors it is made from, of nothing else; None where an input is in it.
    """

    shape: Shape | None = None
    data: Data | None = None
    weights: frozenset[str] | None = None


UNKNOWN = Value()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator in ONNX's names; `inputs` and `outputs` name values, "" an absent one."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def infer(node: Node, inputs: Sequence[Value]) -> list[Value]:
    """The node's outputs."""
    rule = _RULES.get(node.kind)
    try:
        found = _elementwise(node, inputs) if rule is None else rule(node, inputs)
    except (ValueError, TypeError, IndexError, KeyError):
        # An operator that is used in another way than the rules know
        found = UNKNOWN
    known = [value for value in inputs if value is not UNKNOWN or value.weights is not None]
    origin = None
    if node.kind == "Shape":
        origin = frozenset[str]()
    elif known and all(value.weights is not None for value in inputs):
        origin = frozenset().union(*(value.weights or () for value in inputs))
    values = found if isinstance(found, list) else [found] * len(node.outputs)
    return [Value(shape=value.shape, data=value.data, weights=origin) for value in values]


def of(array: Data, weights: frozenset[str] | None = None) -> Value:
    """A value whose data are known, and kept if they are few."""
    kept = array if array.size <= SMALL and array.dtype.kind in "iub" else None
    return Value(shape=array.shape, data=kept, weights=weights)


_FUNCTIONS: Mapping[str, Callable[..., Data]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Max": np.maximum,
    "Min": np.minimum,
    "Div": np.floor_divide,
}


def _elementwise(node: Node, inputs: Sequence[Value]) -> Value:
    """Any operator that keeps, or broadcasts, the shapes of its inputs."""
    shapes = [value.shape for value in inputs]
    if any(shape is None for shape in shapes):
        return UNKNOWN
    shape = np.broadcast_shapes(*[shape for shape in shapes if shape is not None])
    function, data = _FUNCTIONS.get(node.kind), [value.data for value in inputs]
    if function is None or len(data) != 2 or any(array is None for array in data):
        return Value(shape=shape)
    return of(np.asarray(function(*data)))


def _first(node: Node, inputs: Sequence[Value]) -> Value:
    return Value(shape=inputs[0].shape, data=inputs[0].data if node.kind == "Cast" else None)


def _shape(node: Node, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    return UNKNOWN if shape is None else of(np.array(shape, dtype=np.int64))


def _ints(node: Node, inputs: Sequence[Value], place: int, name: str) -> list[int]:
    """Integers that are an input in one version of an operator and an attribute in another."""
    data = inputs[place].data if place < len(inputs) else None
    if data is not None:
        return [int(one) for one in np.atleast_1d(data)]
    found = node.attributes[name]
    return [int(one) for one in (found if isinstance(found, Sequence) and not isinstance(found, str) else [found])]


def _gather(node: Node, inputs: Sequence[Value]) -> Value:
    data, index = inputs[0], inputs[1]
    axis = _ints(node, inputs, 2, "axis")[0] if len(inputs) > 2 or "axis" in node.attributes else 0
    if data.shape is None or index.shape is None:
        return UNKNOWN
    if data.data is not None and index.data is not None:
        return of(np.asarray(np.take(data.data, index.data.astype(int), axis=axis)))
    axis %= len(data.shape)
    return Value(shape=(*data.shape[:axis], *index.shape, *data.shape[axis + 1 :]))


def _range(node: Node, inputs: Sequence[Value]) -> Value:
    start, stop, step = (value.data for value in inputs)
    if start is None or stop is None or step is None:
        return UNKNOWN
    return of(np.arange(int(start), int(stop), int(step)))


def _reshape(node: Node, inputs: Sequence[Value]) -> Value:
    shape, wanted = inputs[0].shape, inputs[1].data
    if shape is None or wanted is None:
        return UNKNOWN
    sizes = [shape[place] if size == 0 else int(size) for place, size in enumerate(np.atleast_1d(wanted))]
    if -1 in sizes:
        rest = int(np.prod([size for size in sizes if size != -1]))
        sizes[sizes.index(-1)] = int(np.prod(shape)) // rest
    if inputs[0].data is not None:
        return of(inputs[0].data.reshape(sizes))
    return Value(shape=tuple(sizes))


def _transpose(node: Node, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    return UNKNOWN if shape is None else Value(shape=tuple(shape[one] for one in _ints(node, inputs, 1, "perm")))


def _unsqueeze(node: Node, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    if shape is None:
        return UNKNOWN
    axes = _ints(node, inputs, 1, "axes")
    if inputs[0].data is not None:
        return of(np.expand_dims(inputs[0].data, tuple(axes)))
    return Value(shape=np.expand_dims(np.empty(shape, dtype=np.bool_), tuple(axes)).shape)


def _squeeze(node: Node, inputs: Sequence[Value]) -> Value:
    shape, data = inputs[0].shape, inputs[0].data
    if shape is None:
        return UNKNOWN
    axes = _ints(node, inputs, 1, "axes") if len(inputs) > 1 else [at for at, size in enumerate(shape) if size == 1]
    if data is not None:
        return of(data.squeeze(tuple(axes)))
    kept = {axis % len(shape) for axis in axes}
    return Value(shape=tuple(size for place, size in enumerate(shape) if place not in kept))


def _concat(node: Node, inputs: Sequence[Value]) -> Value:
    data = [value.data for value in inputs]
    axis = int(node.attributes["axis"])
    if all(array is not None for array in data):
        return of(np.concatenate([np.asarray(array) for array in data], axis=axis))
    shapes = [value.shape for value in inputs]
    if any(shape is None for shape in shapes):
        return UNKNOWN
    total = list(shapes[0] or ())
    total[axis] = sum((shape or ())[axis] for shape in shapes)
    return Value(shape=tuple(total))


def _expand(node: Node, inputs: Sequence[Value]) -> Value:
    shape, wanted = inputs[0].shape, inputs[1].data
    if shape is None or wanted is None:
        return UNKNOWN
    return Value(shape=np.broadcast_shapes(shape, tuple(int(one) for one in wanted)))


def _tile(node: Node, inputs: Sequence[Value]) -> Value:
    shape, times = inputs[0].shape, inputs[1].data
    if shape is None or times is None:
        return UNKNOWN
    return Value(shape=tuple(size * int(count) for size, count in zip(shape, times, strict=True)))


def _reduce(node: Node, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    if shape is None:
        return UNKNOWN
    keep = str(node.attributes.get("keepdims", 1)).lower() in ("1", "true")
    every = len(inputs) < 2 and "axes" not in node.attributes and "axis" not in node.attributes
    name = "axis" if "axis" in node.attributes else "axes"
    axes = {one % len(shape) for one in (range(len(shape)) if every else _ints(node, inputs, 1, name))}
    sizes = ((1 if place in axes else size) for place, size in enumerate(shape) if keep or place not in axes)
    return Value(shape=tuple(sizes))


def _slice(node: Node, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    starts, stops = (inputs[place].data for place in (1, 2))
    if shape is None or starts is None or stops is None:
        return UNKNOWN
    # ONNX: starts, stops, axes, steps; OpenVINO: starts, stops, steps, axes
    places = (4, 3) if node.attributes.get("ir") else (3, 4)
    axes, steps = (inputs[place].data if place < len(inputs) else None for place in places)
    cuts = [slice(None)] * len(shape)
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        axis = number if axes is None else int(axes[number])
        cuts[axis] = slice(int(start), int(stop), 1 if steps is None else int(steps[number]))
    if inputs[0].data is not None:
        return of(inputs[0].data[tuple(cuts)])
    sizes = (len(range(*cut.indices(size))) for cut, size in zip(cuts, shape, strict=True))
    return Value(shape=tuple(sizes))


def _split(node: Node, inputs: Sequence[Value]) -> list[Value]:
    shape = inputs[0].shape
    # OpenVINO: axis, lengths; ONNX: lengths, and the axis is an attribute
    ir = bool(node.attributes.get("ir"))
    axis = _ints(node, inputs, 1, "axis")[0] if ir else int(node.attributes.get("axis", 0))
    lengths = inputs[2 if ir else 1].data
    if shape is None or lengths is None:
        return [UNKNOWN] * len(node.outputs)
    axis %= len(shape)
    sizes = [int(one) for one in lengths]
    if -1 in sizes:
        sizes[sizes.index(-1)] = shape[axis] - sum(size for size in sizes if size != -1)
    return [Value(shape=(*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]


def _matmul(node: Node, inputs: Sequence[Value]) -> Value:
    left, right = inputs[0].shape, inputs[1].shape
    if left is None or right is None:
        return UNKNOWN
    columns = right[-2] if str(node.attributes.get("transB", 0)).lower() in ("1", "true") else right[-1]
    outer = np.broadcast_shapes(left[:-2], right[:-2])
    return Value(shape=(*outer, left[-2], columns))


def _nbits(node: Node, inputs: Sequence[Value]) -> Value:
    shape = inputs[0].shape
    return UNKNOWN if shape is None else Value(shape=(*shape[:-1], int(node.attributes["N"])))


def _top(node: Node, inputs: Sequence[Value]) -> list[Value]:
    shape, count = inputs[0].shape, inputs[1].data
    if shape is None or count is None:
        return [UNKNOWN] * 2
    axis = int(node.attributes["axis"]) % len(shape)
    return [Value(shape=(*shape[:axis], int(np.ravel(count)[0]), *shape[axis + 1 :]))] * 2


Rule = Callable[[Node, Sequence[Value]], "Value | list[Value]"]
_SAME = (
    "Cast",
    "RMSNormalization",
    "RotaryEmbedding",
    "Attention",
    "ScaledDotProductAttention",
    "QuantizeLinear",
    "DequantizeLinear",
    "Softmax",
    "ConvertLike",
    "LayerNormalization",
)
_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME, _first),
    **dict.fromkeys(("ReduceMax", "ReduceSum", "ReduceMean", "ReduceL2", "ReduceMin", "ArgMax"), _reduce),
    **dict.fromkeys(("MatMul", "Gemm", "MatMulInteger"), _matmul),
    "Shape": _shape,
    "Gather": _gather,
    "Range": _range,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Concat": _concat,
    "Expand": _expand,
    "Tile": _tile,
    "Slice": _slice,
    "Split": _split,
    "MatMulNBits": _nbits,
    # As large as its indices
    "GatherElements": lambda _, inputs: Value(shape=inputs[1].shape),
    "TopK": _top,
}
