"""The graph of an OpenVINO IR, from its XML alone; operators under ONNX's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, parse

import numpy as np

from mlexport.errors import ArtifactError
from mlexport.estimate.graph import Graph, Stored, work_of
from mlexport.estimate.shapes import SMALL, Node, Value, of
from mlexport.estimate.work import Work
from mlexport.spec import Target

# https://docs.openvino.ai/2025/documentation/openvino-ir-format/operation-sets.html
_KINDS = {
    "ShapeOf": "Shape",
    "Convert": "Cast",
    "Multiply": "Mul",
    "Subtract": "Sub",
    "Divide": "Div",
    "Maximum": "Max",
    "Minimum": "Min",
    "Broadcast": "Expand",
    "VariadicSplit": "Split",
}
_ATTRIBUTES = {"transpose_b": "transB", "keep_dims": "keepdims"}
_TYPES = {"f16": "f16", "f32": "f32", "bf16": "bf16", "i8": "int8", "u8": "uint8", "i4": "int4", "u4": "uint4"}
_NUMPY: Mapping[str, Any] = {"i64": np.int64, "i32": np.int32, "i8": np.int8, "u8": np.uint8}


def openvino_work(path: Path) -> Work:
    """What one call of the IR does.

    Raises:
        ArtifactError: not an IR, or one whose operations cannot be counted.
    """
    try:
        root = parse(path).getroot()
        graph = _graph(root, path.with_suffix(".bin"))
    except (OSError, ParseError, KeyError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} cannot be read as an OpenVINO IR: {' '.join(str(error).split())[:160]}") from None
    kinds = [layer.attrib["type"] for layer in root.iter("layer")]
    return work_of(graph, [kind for kind in kinds if kind not in ("Const", "Parameter", "Result")], str(path))


def _graph(root: Element, data: Path) -> Graph:
    sources = {
        (edge.attrib["to-layer"], edge.attrib["to-port"]): f"{edge.attrib['from-layer']}:{edge.attrib['from-port']}"
        for edge in root.iter("edge")
    }
    stored: dict[str, Stored] = {}
    values: dict[str, Value] = {}
    inputs: dict[str, tuple[int, ...] | None] = {}
    nodes = []
    for layer in root.iter("layer"):
        number, kind = layer.attrib["id"], layer.attrib["type"]
        outputs = [f"{number}:{port.attrib['id']}" for port in layer.findall("output/port")]
        if kind == "Const":
            name = _unused(layer.attrib["name"], stored)
            stored[name], values[outputs[0]] = _constant(layer, name, data)
        elif kind == "Parameter":
            sizes = [int(dim.text or -1) for dim in layer.findall("output/port/dim")]
            inputs[outputs[0]] = tuple(sizes) if min(sizes) > 0 else None
        elif kind != "Result":
            found = tuple(sources[number, port.attrib["id"]] for port in layer.findall("input/port"))
            nodes.append(_node(layer, found, tuple(outputs)))
    return Graph(target=Target.OPENVINO, nodes=_ordered(nodes), inputs=inputs, stored=stored, values=values)


def _unused(name: str, taken: Mapping[str, object]) -> str:
    return name if name not in taken else f"{name}#{len(taken)}"


def _constant(layer: Element, name: str, data: Path) -> tuple[Stored, Value]:
    facts = _data(layer)
    shape = tuple(int(size) for size in facts["shape"].split(",") if size.strip())
    size, kind = int(facts["size"]), facts["element_type"]
    stored = Stored(shape=shape, dtype=_TYPES.get(kind, kind), bytes=size)
    weights = frozenset((name,))
    if kind in _NUMPY and int(np.prod(shape)) <= SMALL:
        with data.open("rb") as file:
            file.seek(int(facts["offset"]))
            array = np.frombuffer(file.read(size), dtype=_NUMPY[kind]).reshape(shape)
        return stored, of(array, weights)
    return stored, Value(shape=shape, weights=weights)


def _node(layer: Element, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Node:
    attributes: dict[str, Any] = {_ATTRIBUTES.get(name, name): value for name, value in _data(layer).items()}
    attributes["ir"] = True
    kind = layer.attrib["type"]
    return Node(
        kind=_KINDS.get(kind, kind), name=layer.attrib["name"], inputs=inputs, outputs=outputs, attributes=attributes
    )


def _data(layer: Element) -> Mapping[str, str]:
    found = layer.find("data")
    return {} if found is None else found.attrib


def _ordered(nodes: list[Node]) -> list[Node]:
    """Every node behind those that it reads from: an IR lists them in any order."""
    made = {output: node for node in nodes for output in node.outputs}
    done: dict[int, Node] = {}
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting[-1]
        needed = [made[name] for name in node.inputs if name in made and id(made[name]) not in done]
        if needed and id(node) not in done:
            waiting += needed
        else:
            done.setdefault(id(node), waiting.pop())
    return list(done.values())
