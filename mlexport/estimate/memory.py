"""Resident memory of a process that runs a work: what runtimes keep beside the weights.

An estimate, as the time is: the share of weights that is held twice is measured (benchmarks/estimator.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from mlexport.estimate.work import ACTIVATION_BYTES, LLAMA_CONTEXT, LLAMA_ROWS, Work, passes, score_bytes
from mlexport.spec import Target

# Python, the runtime's libraries and a tokenizer, MB; benchmarks/results/estimator.json
_BASE_MB: Mapping[Target, float] = {
    Target.GGUF: 130.0,
    Target.ONNX: 80.0,
    Target.OPENVINO: 150.0,
    Target.HF: 450.0,
    Target.QNN: 150.0,
}
# Weights held: as stored, and repacked for the products
_COPIES: Mapping[Target, float] = {
    Target.GGUF: 1.0,
    Target.ONNX: 2.0,
    Target.OPENVINO: 2.0,
    Target.HF: 1.0,
    Target.QNN: 1.0,
}
# Tensors of a layer that live at the same time beside the widest product's
_LIVE = 3


def resident_bytes(work: Work, tokens: int, batch: int, base_mb: float | None = None) -> int:
    """Bytes of a process after a call.

    Args:
        base_mb: of a process with a model without weights, where that was measured.
    """
    base = (_BASE_MB[work.target] if base_mb is None else base_mb) * 1e6
    weights = _COPIES[work.target] * work.weight_bytes
    return int(base + weights + _activations(work, tokens, batch) + _llama_buffers(work, tokens, batch))


def _activations(work: Work, tokens: int, batch: int) -> int:
    """The widest product's input and output, the residual, and one layer's scores."""
    one = max(passes(work.target, tokens, batch), key=lambda one: one.texts * one.rows * one.keys)
    body = [product for product in work.products if not product.head]
    widest = max(product.columns + product.outputs for product in body)
    rows = one.texts * one.rows
    scores = max((score_bytes(attention, one) for attention in work.attentions), default=0)
    return ACTIVATION_BYTES * rows * (_LIVE * work.hidden + widest) + scores


def _llama_buffers(work: Work, tokens: int, batch: int) -> int:
    """Keys and values of every layer in f32, and micro-batch × vocabulary numbers for the head."""
    if work.target is not Target.GGUF:
        return 0
    context = batch * max(LLAMA_CONTEXT, tokens)
    keys = sum(product.outputs for product in work.products if "attn_k." in product.name or "k_proj" in product.name)
    return ACTIVATION_BYTES * (2 * context * keys + LLAMA_ROWS * work.vocabulary)
