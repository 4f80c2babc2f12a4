"""What a cut would do that was not made: from the plan of `slice --dry-run`, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlexport.artifact import TensorPlan
from mlexport.estimate.work import Lookup, Product, Rows, Work, layer_attentions
from mlexport.model import TABLE, TABLE_LEFT, TABLE_RIGHT, SubModel
from mlexport.spec import Target

_TABLES = (TABLE, TABLE_LEFT)
# Keys and values are of every token; in the last layer of our graphs all else is of the one that is pooled
_OF_EVERY_TOKEN = ("self_attn.k_proj.weight", "self_attn.v_proj.weight")
# Targets made from our graph
_GRAPHS = (Target.ONNX, Target.OPENVINO, Target.QNN)


def planned_work(sub: SubModel, target: Target, rows: Sequence[TensorPlan], operators: Sequence[str] = ()) -> Work:
    """What one call of the planned file does.

    Args:
        operators: kinds of nodes that its graph will have.
    """
    config = sub.config
    by_name = {row.name: row for row in rows}
    products = [
        _product(row, _rows(row.name, config.layers, target))
        for row in rows
        if len(row.shape) == 2 and row.name not in _TABLES
    ]
    if target is Target.GGUF:
        products.append(_product(by_name[TABLE], Rows.TOKEN, head=True))
    return Work(
        target=target,
        products=tuple(products),
        attentions=layer_attentions(
            config.layers, config.heads, config.head_dim, last=Rows.TEXT if target in _GRAPHS else Rows.TOKEN
        ),
        lookups=_lookups(by_name),
        shape=sub.shape,
        operators=tuple(sorted(set(operators))),
        hidden=config.hidden,
        vocabulary=config.vocabulary,
    )


def planned_operators(sub: SubModel, target: Target, rows: Sequence[TensorPlan]) -> tuple[str, ...]:
    """Kinds of nodes of the graph that would be written; none for formats without a graph.

    The graph is built, its tensors are not read. Which operators OpenVINO's front end makes of it for an IR is not
    known before it is written.

    Raises:
        MissingExtraError: onnx-ir is not installed.
    """
    if target is not Target.ONNX:
        return ()
    from mlexport.export.onnx import embedder_graph  # noqa: PLC0415

    graph = embedder_graph(sub, {row.name: row.scheme for row in rows})
    return tuple(sorted({f"{node.domain}.{node.op_type}".lstrip(".") for node in graph.build({}).graph}))


def _rows(name: str, layers: int, target: Target) -> Rows:
    last = name.startswith(f"layers.{layers - 1}.") and not name.endswith(_OF_EVERY_TOKEN)
    return Rows.TEXT if last and target in _GRAPHS else Rows.TOKEN


def _product(row: TensorPlan, rows: Rows, *, head: bool = False) -> Product:
    # V stands the other way round: it multiplies what was looked up
    outputs, columns = row.shape[::-1] if row.name == TABLE_RIGHT else row.shape
    return Product(
        name=row.name, scheme=row.scheme, rows=rows, columns=columns, outputs=outputs, bytes=row.bytes, head=head
    )


def _lookups(rows: Mapping[str, TensorPlan]) -> tuple[Lookup, ...]:
    return tuple(
        Lookup(
            name=name,
            scheme=rows[name].scheme,
            bytes=rows[name].bytes // rows[name].shape[0],
            table_bytes=rows[name].bytes,
        )
        for name in _TABLES
        if name in rows
    )
