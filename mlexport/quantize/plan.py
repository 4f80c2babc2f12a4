"""Which tensor gets which scheme, and why: decided before anything is written, printed by a dry run, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from mlexport.artifact import TensorPlan
from mlexport.errors import UsageError
from mlexport.model import TABLE, ModelConfig, SubModel
from mlexport.quantize.graph_plan import graph_row, plan_onnx, plan_openvino, plan_qnn
from mlexport.spec import Target

# scheme -> (numbers in a block, bytes of a block); ggml-common.h of llama.cpp, checked against gguf-py by a test
BLOCKS: Mapping[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q6_k": (256, 210),
    "q5_k": (256, 176),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_k": (256, 144),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_xs": (256, 136),
    "iq4_nl": (32, 18),
}
# scheme -> (numbers that share a scale, whether it has no offset beside it)
SCALES: Mapping[str, tuple[int, bool]] = {
    "q8_0": (32, True),
    "q6_k": (16, True),
    "q5_k": (32, False),
    "q5_1": (32, False),
    "q5_0": (32, True),
    "q4_k": (32, False),
    "q4_1": (32, False),
    "q4_0": (32, True),
    "iq4_xs": (32, True),
    "iq4_nl": (32, True),
}
# What llama.cpp falls back to where rows are no multiple of 256 (tensor_type_fallback of llama-quant.cpp)
_FALLBACK = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0", "iq4_xs": "iq4_nl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """A precision of llama-quantize that mixes schemes.

    Attributes:
        base: scheme of most matrices.
        table: scheme of the token table, which llama.cpp counts as output matrix in a model without one.
        more: scheme of attn_v and ffn_down in the layers that llama.cpp gives more bits; None for no such layers.
        grouped_v: scheme of attn_v where four query heads or more share one.
        first_down: scheme of ffn_down in the first eighth of the layers, without importance matrix.
        first_down_weighted: the same with one.
    """

    base: str
    table: str
    more: str | None = None
    grouped_v: str | None = None
    first_down: str | None = None
    first_down_weighted: str | None = None


# llama_tensor_get_type of llama-quant.cpp, for qwen3
MIXTURES: Mapping[str, Mixture] = {
    "q8_0": Mixture(base="q8_0", table="q8_0"),
    "q6_k": Mixture(base="q6_k", table="q6_k"),
    "q5_k_m": Mixture(base="q5_k", more="q6_k", table="q6_k"),
    "q5_0": Mixture(base="q5_0", table="q6_k", first_down_weighted="q5_1"),
    "q4_k_m": Mixture(base="q4_k", more="q6_k", table="q6_k"),
    "q4_0": Mixture(base="q4_0", table="q6_k", first_down_weighted="q4_1"),
    "iq4_xs": Mixture(base="iq4_xs", table="q6_k", grouped_v="q5_k", first_down="q5_k"),
}
_VALUE, _DOWN = "self_attn.v_proj.weight", "mlp.down_proj.weight"


def plan_tensors(
    sub: SubModel, target: Target, precision: str, table_precision: str | None, *, weighted: bool = False
) -> tuple[TensorPlan, ...]:
    """One row a tensor, in the order of `sub.tensors`.

    Args:
        precision, table_precision: the target's own names (`spec.resolve_precision`); None for the table leaves
            its scheme to `precision`.
        weighted: an importance matrix will be there: llama.cpp then mixes two precisions otherwise.

    Raises:
        UsageError: the combination cannot be written.
    """
    if target is Target.GGUF:
        return _plan_gguf(sub, precision, table_precision, weighted=weighted)
    return _PLANS[target](sub, precision, table_precision)


def row_for(sub: SubModel, target: Target, name: str, scheme: str, reason: str) -> TensorPlan:
    """A matrix's or a looked-up table's row in a scheme, or in what its columns allow instead."""
    if target is not Target.GGUF:
        return graph_row(sub, target, name, scheme, reason)
    return fitted(name, sub.tensors[name].shape, scheme, reason)


def row(name: str, shape: tuple[int, ...], scheme: str, reason: str) -> TensorPlan:
    """A row whose bytes follow from the scheme's blocks."""
    numbers, size = BLOCKS[scheme]
    size = prod(shape) // numbers * size
    block, symmetric = SCALES.get(scheme, (None, None))
    return TensorPlan(
        name=name, shape=shape, scheme=scheme, block=block, symmetric=symmetric, bytes=size, reason=reason
    )


def _plan_hf(sub: SubModel, precision: str, table_precision: str | None) -> tuple[TensorPlan, ...]:
    if table_precision not in (None, precision):
        raise UsageError(
            f"target hf stores all tensors in one precision: got {precision} and a table in {table_precision}. "
            "Leave --table-precision out"
        )
    reason = f"precision {precision}"
    return tuple(row(name, tensor.shape, precision, reason) for name, tensor in sub.tensors.items())


def _plan_gguf(sub: SubModel, precision: str, table_precision: str | None, *, weighted: bool) -> tuple[TensorPlan, ...]:
    rows = []
    for name, tensor in sub.tensors.items():
        if len(tensor.shape) == 1:
            # q_norm and k_norm too: ggml adds and multiplies in float32
            rows.append(row(name, tensor.shape, "f32", "norm: llama.cpp computes it in f32"))
            continue
        if name == TABLE:
            scheme, reason = _gguf_table(precision, table_precision)
        else:
            scheme, reason = _gguf_matrix(name, sub.config, precision, weighted=weighted)
        rows.append(fitted(name, tensor.shape, scheme, reason))
    return tuple(rows)


def _gguf_table(precision: str, table_precision: str | None) -> tuple[str, str]:
    if table_precision is not None:
        mixture = MIXTURES.get(table_precision)
        return (table_precision if mixture is None else mixture.base), f"--table-precision {table_precision}"
    mixture = MIXTURES.get(precision)
    if mixture is None:
        return precision, f"precision {precision}"
    kept = "" if mixture.table == mixture.base else ": llama.cpp gives the table more bits"
    return mixture.table, f"precision {precision}{kept}"


def _gguf_matrix(name: str, config: ModelConfig, precision: str, *, weighted: bool) -> tuple[str, str]:
    reason, mixture = f"precision {precision}", MIXTURES.get(precision)
    if mixture is None:
        return precision, reason
    layer, layers = int(name.split(".")[1]), config.layers
    value, down = name.endswith(_VALUE), name.endswith(_DOWN)
    if mixture.more is not None and (value or down) and _use_more_bits(layer, layers):
        return mixture.more, f"{reason}: llama.cpp gives this layer's v and down more bits"
    if mixture.grouped_v is not None and value and config.heads >= 4 * config.kv_heads:
        return mixture.grouped_v, f"{reason}: llama.cpp gives v more bits, which four heads or more share"
    first = mixture.first_down_weighted if weighted else mixture.first_down
    if first is not None and down and layer < layers // 8:
        return first, f"{reason}: llama.cpp gives the first layers' down more bits"
    return mixture.base, reason


def _use_more_bits(layer: int, layers: int) -> bool:
    """use_more_bits of llama-quant.cpp: the first and the last eighth, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def fitted(name: str, shape: tuple[int, ...], scheme: str, reason: str) -> TensorPlan:
    """The row, with llama.cpp's fallback where the scheme's blocks do not divide the tensor's rows."""
    chosen = scheme
    if shape[1] % BLOCKS[chosen][0]:
        chosen = _FALLBACK.get(chosen, chosen)
        reason = f"{reason}; rows of {shape[1]} are no multiple of 256: {chosen} for {scheme}"
    if shape[1] % BLOCKS[chosen][0]:
        chosen, reason = "f16", f"{reason}; nor of 32: f16"
    return row(name, shape, chosen, reason)


_PLANS: Mapping[Target, Callable[[SubModel, str, str | None], tuple[TensorPlan, ...]]] = {
    Target.HF: _plan_hf,
    Target.ONNX: plan_onnx,
    Target.OPENVINO: plan_openvino,
    Target.QNN: plan_qnn,
}
