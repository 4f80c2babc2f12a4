"""Embedders of several runtimes behind one call: token ids in, vectors out. `turns` runs each in its own process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
# Ids [batch, tokens], no padding -> vectors [batch, dim], normalised
Run = Callable[[Ids], NDArray[np.float32]]
THREADS = os.cpu_count() or 1


def pooled(states: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """Last token, first numbers, normalised: what a peer's model leaves to its user."""
    vectors = states[:, -1, :dim]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def torch_f32(folder: Path, dim: int) -> Run:
    """transformers in float32, which is what sentence-transformers runs; of a folder."""
    import torch  # noqa: PLC0415
    from transformers import AutoModel  # noqa: PLC0415

    torch.set_num_threads(THREADS)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def run(ids: Ids) -> NDArray[np.float32]:
        with torch.inference_mode():
            return pooled(model(torch.from_numpy(ids), use_cache=False).last_hidden_state.numpy(), dim)

    return run


def onnx(file: Path, dim: int) -> Run:
    """ONNX Runtime, with a session's defaults; a file of ours or of optimum's."""
    import onnxruntime as ort  # noqa: PLC0415

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    ours = "sentence_embedding" in [output.name for output in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}

    def run(ids: Ids) -> NDArray[np.float32]:
        [out] = session.run(["sentence_embedding" if ours else "last_hidden_state"], _feed(ids, wanted))
        return out if ours else pooled(out, dim)

    return run


def openvino(file: Path, dim: int, precision: str | None = None) -> Run:
    """OpenVINO on the CPU; an IR of ours or of optimum-intel's. `precision` is the inference precision hint."""
    import openvino as ov  # noqa: PLC0415

    settings = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY"}
    compiled = ov.Core().compile_model(
        str(file), "CPU", settings | ({"INFERENCE_PRECISION_HINT": precision} if precision else {})
    )
    names = {name for output in compiled.outputs for name in output.get_names()}
    wanted = {next(iter(value.get_names())) for value in compiled.inputs}
    ours = "sentence_embedding" in names

    def run(ids: Ids) -> NDArray[np.float32]:
        out = compiled(_feed(ids, wanted))["sentence_embedding" if ours else "last_hidden_state"]
        return out if ours else pooled(out, dim)

    return run


def llama(file: Path, dim: int) -> Run:
    """llama.cpp; a batch is one text after the other."""
    import logging  # noqa: PLC0415

    from llama_cpp import Llama  # noqa: PLC0415
    from llama_cpp import llama_cpp as api  # noqa: PLC0415

    model = Llama(
        str(file),
        embedding=True,
        n_ctx=8192,
        n_batch=8192,
        n_ubatch=512,
        n_threads=THREADS,
        n_threads_batch=THREADS,
        verbose=False,
    )
    # A line on standard error for every text else
    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)

    def run(ids: Ids) -> NDArray[np.float32]:
        rows = []
        for row in ids:
            api.llama_memory_clear(api.llama_get_memory(model.ctx), True)
            array = (api.llama_token * len(row))(*row.tolist())
            api.llama_decode(model.ctx, api.llama_batch_get_one(array, len(row)))
            found = api.llama_get_embeddings_seq(model.ctx, 0)
            rows.append(np.ctypeslib.as_array(found, shape=(model.n_embd(),))[:dim].copy())
        vectors = np.stack(rows)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return run


def _feed(ids: Ids, wanted: set[str]) -> dict[str, Ids]:
    batch, tokens = ids.shape
    everything = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.broadcast_to(np.arange(tokens), (batch, tokens)).copy(),
    }
    return {name: value for name, value in everything.items() if name in wanted}


def products(file: Path, dim: int) -> Run:
    """A graph of limit.py: products alone, of random inputs of the ids' length; what it gives is thrown away."""
    import onnxruntime as ort  # noqa: PLC0415

    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)

    def inputs(tokens: int) -> dict[str, NDArray[np.float32]]:
        sizes = {"one": 1, "tokens": tokens}
        return {
            value.name: random.standard_normal([sizes.get(size, size) for size in value.shape], dtype=np.float32)
            for value in session.get_inputs()
        }

    made: dict[int, dict[str, NDArray[np.float32]]] = {}

    def run(ids: Ids) -> NDArray[np.float32]:
        session.run(None, made[ids.shape[1]])
        return np.zeros((len(ids), dim), dtype=np.float32)

    def prepared(ids: Ids) -> NDArray[np.float32]:
        # Outside of the time that counts after the first rounds
        if ids.shape[1] not in made:
            made[ids.shape[1]] = inputs(ids.shape[1])
        return run(ids)

    return prepared


KINDS: dict[str, Callable[[Path, int], Run]] = {
    "torch": torch_f32,
    "onnx": onnx,
    "openvino": openvino,
    "gguf": llama,
    "products": products,
}
