"""Nodes and tensors of a graph while it is put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from mlexport.export.onnx.stream import Array, Weight, constant

ORT_DOMAIN = "com.microsoft"
# onnxruntime-extensions' operators
EXTENSIONS = "ai.onnx.contrib"
OPSET = 23
# The version of the file format that came with opset 23
IR_VERSION = 11

Value = ir.Value


class Builder:
    """Records nodes in order; tensors are named and written later, by `stream.write_model`."""

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self.nodes: list[ir.Node] = []
        self.weights: list[Weight] = []
        self.outputs: list[Value] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._scope = ""
        self._names: dict[str, int] = {}

    def scope(self, name: str) -> None:
        """Nodes made from here on are named `name/…`: profiles and error messages then say where they are."""
        self._scope = name

    def op(self, kind: str, *inputs: Value | None, domain: str = "", outputs: int = 1, **attributes: Any) -> Value:
        """A node; its first output."""
        return self.ops(kind, *inputs, domain=domain, outputs=outputs, **attributes)[0]

    def ops(
        self, kind: str, *inputs: Value | None, domain: str = "", outputs: int = 1, **attributes: Any
    ) -> Sequence[Value]:
        """A node; all its outputs."""
        name = self._unique(f"{self._scope}/{kind}")
        node = ir.node(kind, inputs, attributes, domain=domain, num_outputs=outputs, name=name)
        for number, value in enumerate(node.outputs):
            value.name = name if number == 0 else f"{name}.{number}"
        self.nodes.append(node)
        return node.outputs

    def fused(self, kind: str, *inputs: Value | None, outputs: int = 1, **attributes: Any) -> Value:
        """A node of ONNX Runtime's own domain; its first output."""
        return self.op(kind, *inputs, domain=ORT_DOMAIN, outputs=outputs, **attributes)

    def loop(
        self, turn: Callable[[Value, Sequence[Value]], tuple[Value, Sequence[Value]]], state: Sequence[Value]
    ) -> Sequence[Value]:
        """A Loop; the state after its last turn.

        Args:
            turn: makes the nodes of a turn from its number (int64, from 0) and the state; returns whether there
                is another one (a scalar that is not 0), and the new state.
        """
        name = self._unique(f"{self._scope}/Loop")
        number = ir.val(f"{name}.turn", ir.DataType.INT64, [])
        before = ir.val(f"{name}.before", ir.DataType.BOOL, [])
        inner = [ir.Value(name=f"{name}.state.{place}") for place in range(len(state))]
        nodes, self.nodes = self.nodes, []
        more, after = turn(number, inner)
        again = self.op("Cast", more, to=ir.DataType.BOOL.value)
        body = ir.Graph([number, before, *inner], [again, *after], nodes=self.nodes, name=name)
        self.nodes = nodes
        return self.ops("Loop", None, self.const(True, np.bool_), *state, body=body, outputs=len(state))

    def weight(self, weight: Weight) -> Value:
        """A tensor of the plan."""
        self.weights.append(weight)
        return ir.val(weight.name, weight.dtype, weight.shape)

    def const(self, values: Any, dtype: type[np.generic] = np.int64) -> Value:
        """A small constant, made once for equal values."""
        array: Array = np.asarray(values, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(constant(f"constant_{len(self._constants)}", array))
        return self._constants[key]

    def model(self, inputs: Sequence[Value], outputs: Sequence[Value], metadata: dict[str, str]) -> ir.Model:
        """The graph without its tensors."""
        opsets = {"": self.opset}
        opsets |= {node.domain: 1 for node in self.nodes if node.domain}
        graph = ir.Graph(inputs, outputs, nodes=self.nodes, opset_imports=opsets, name="embedder")
        return ir.Model(
            graph,
            ir_version=IR_VERSION,
            producer_name="mlexport",
            metadata_props=metadata,
        )

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return name if count == 0 else f"{name}_{count}"
