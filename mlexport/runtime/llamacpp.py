"""Vectors of a GGUF file through llama.cpp, as llama-cpp-python brings it: on the CPU, or offloaded to a GPU."""

from __future__ import annotations

import ctypes
import logging
import os
import unicodedata
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mlexport.errors import ArtifactError, missing_extra
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.runtime.llama_devices import CPU, check_options, chosen
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.tensors import Float32

# llama.cpp reserves micro-batch × vocabulary numbers for an output head that embedding does not use
MICRO_BATCH = 128
_SHORTEST_CONTEXT = 512
_ALL_LAYERS = 999
# A token is at least one byte of text; special tokens come on top
_SPARE_TOKENS = 8
# enum ggml_type, enum llama_flash_attn_type
_CACHE_TYPES = {"f32": 0, "f16": 1}
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}


class LlamaEmbedder:
    """A GGUF model: llama.cpp's own tokenizer, pooling from the file, one text after the other.

    llama.cpp has no NFC normaliser, so that is applied here. `Llama.embed` of llama-cpp-python cuts a long text
    without its end token; here the end token stays.
    """

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int, settings: Settings = DEFAULT) -> None:
        try:
            from llama_cpp import llama_cpp  # noqa: PLC0415
        except ImportError:
            raise missing_extra("llama_cpp", "gguf", "target gguf") from None
        self.api: Any = llama_cpp
        check_options(settings)
        self.text, self.dim, self.settings = text, dim, settings
        # llama.cpp's loading report goes to standard error through this logger
        logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)
        llama_cpp.llama_backend_init()
        self.device = chosen(llama_cpp, settings)
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = self._layers_asked()
        # Ends with a null: no device at all for the CPU, which a build for GPUs would else help with long texts
        self.devices = (ctypes.c_void_p * 2)(self.device.handle if self.device else None, None)
        parameters.devices = ctypes.cast(self.devices, ctypes.c_void_p)
        self.model = llama_cpp.llama_model_load_from_file(str(folder / model_file).encode(), parameters)
        if not self.model:
            raise ArtifactError(f"{folder / model_file} is refused by llama.cpp: damaged, or made for a newer one")
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.hidden = llama_cpp.llama_model_n_embd(self.model)
        self.context: Any = None
        self.context_tokens = 0
        self.streams: list[Any] = []

    @property
    def fixed_shape(self) -> None:
        """Texts of any length."""
        return None

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids by llama.cpp, cut to the longest text with the end token last."""
        keep = self.text.max_length - 1
        return [[*self._tokenise(text)[:keep], self.text.end_id] for text in texts]

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        rows = self.token_ids(texts)
        if rows:
            self._make_room(max(map(len, rows)))
        for place, ids in enumerate(rows):
            vectors[place] = self._pooled(self.context, [ids])[0, : self.dim]
        return self._normalised(vectors)

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """A context of its own on the same model; the texts of a call are sequences of one batch."""
        context = self._new_context(tokens, batch)
        self.streams.append(context)

        def bind(texts: Sequence[str]) -> Call:
            rows = self.token_ids(texts)
            return lambda: self._normalised(self._pooled(context, rows)[:, : self.dim])

        return bind

    def engine(self) -> Engine:
        """llama.cpp, its device, and the layers that are on it; the output head counts as one."""
        layers = int(self.api.llama_model_n_layer(self.model)) + 1
        name = self.device.name if self.device else CPU
        taken = min(layers, self._layers_asked()) if self.device else layers
        return Engine(
            runtime="llama.cpp",
            version=f"llama-cpp-python {version('llama-cpp-python')}",
            provider=name,
            options=dict(self.settings.options),
            threads=self._threads() * self.settings.streams,
            nodes={name: taken} | ({CPU: layers - taken} if taken < layers else {}),
        )

    def close(self) -> None:
        """Free the model and its buffers."""
        self._free_context()
        while self.streams:
            self.api.llama_free(self.streams.pop())
        if self.model:
            self.api.llama_model_free(self.model)
            self.model = None

    def _tokenise(self, text: str) -> list[int]:
        data = unicodedata.normalize("NFC", text).encode("utf-8", errors="replace")
        room = len(data) + _SPARE_TOKENS
        ids = (self.api.llama_token * room)()
        # No tokens added here, special tokens in the text parsed: as the original tokenizer does
        count = self.api.llama_tokenize(self.vocabulary, data, len(data), ids, room, False, True)
        return list(ids[:count])

    def _make_room(self, tokens: int) -> None:
        """A context for that many tokens; the KV cache of the longest text alone can be gigabytes."""
        if tokens <= self.context_tokens:
            return
        self._free_context()
        size = max(_SHORTEST_CONTEXT, 1 << (tokens - 1).bit_length())
        self.context = self._new_context(size, 1)
        self.context_tokens = size

    def _new_context(self, tokens: int, batch: int) -> Any:
        """A context for `batch` texts of that many tokens at once."""
        options = self.settings.options
        # Each sequence gets its share of n_ctx, which llama.cpp rounds up to a multiple of 256
        size = -(-max(tokens, _SHORTEST_CONTEXT) // 256) * 256
        parameters = self.api.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_seq_max = size * batch, size * batch, batch
        parameters.n_ubatch = min(size * batch, int(options.get("micro_batch", MICRO_BATCH)))
        parameters.embeddings = True
        # A pooled batch in several micro-batches is only right for causal attention: said, not left to a default
        parameters.attention_type = self.api.LLAMA_ATTENTION_TYPE_CAUSAL
        # The default cache rounds keys and values to f16, and the worst of random weights to cosine .99998
        parameters.type_k = parameters.type_v = _CACHE_TYPES[options.get("kv", "f32")]
        parameters.flash_attn_type = _FLASH_ATTENTION[options.get("flash_attention", "off")]
        parameters.n_threads = parameters.n_threads_batch = self._threads()
        parameters.op_offload = self.device is not None
        context = self.api.llama_init_from_model(self.model, parameters)
        if not context:
            raise ArtifactError(f"llama.cpp has no memory for a text of {tokens} tokens: shorten it, or free some")
        return context

    def _threads(self) -> int:
        """Of one context.

        Half of the logical cores unless told otherwise, as llama-cpp-python does: ggml's threads spin while they wait
        for each other, so one that shares its core with another process holds up all (measured: 50 times slower).
        """
        threads = self.settings.threads
        if threads is None:
            return max(1, (os.cpu_count() or 1) // 2)
        return max(1, threads // self.settings.streams)

    def _layers_asked(self) -> int:
        """Layers to keep on the device; far more than any model has where all are meant."""
        if self.device is None:
            return 0
        return _ALL_LAYERS if self.settings.gpu_layers is None else self.settings.gpu_layers

    def _pooled(self, context: Any, rows: Sequence[Sequence[int]]) -> Float32:
        """llama.cpp's pooled vectors of texts run together, float32 [texts, hidden], not normalised."""
        self.api.llama_memory_clear(self.api.llama_get_memory(context), True)
        if len(rows) == 1:
            array = (self.api.llama_token * len(rows[0]))(*rows[0])
            code = self.api.llama_decode(context, self.api.llama_batch_get_one(array, len(array)))
        else:
            batch = self._batch(rows)
            code = self.api.llama_decode(context, batch)
            self.api.llama_batch_free(batch)
        found = [self.api.llama_get_embeddings_seq(context, place) for place in range(len(rows))] if code == 0 else []
        if not found or not all(found):
            raise ArtifactError(f"llama.cpp could not run a text of {len(rows[0])} tokens (code {code})")
        return np.stack([np.ctypeslib.as_array(one, shape=(self.hidden,)) for one in found])

    def _batch(self, rows: Sequence[Sequence[int]]) -> Any:
        """Texts as sequences 0, 1, … of a batch, each token's vector wanted: llama.cpp pools the last."""
        batch = self.api.llama_batch_init(sum(map(len, rows)), 0, 1)
        tokens = [(place, position, one) for place, row in enumerate(rows) for position, one in enumerate(row)]
        for number, (place, position, one) in enumerate(tokens):
            batch.token[number], batch.pos[number], batch.n_seq_id[number] = one, position, 1
            batch.seq_id[number][0], batch.logits[number] = place, True
        batch.n_tokens = len(tokens)
        return batch

    def _normalised(self, vectors: Float32) -> Float32:
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors

    def _free_context(self) -> None:
        if self.context:
            self.api.llama_free(self.context)
            self.context, self.context_tokens = None, 0
