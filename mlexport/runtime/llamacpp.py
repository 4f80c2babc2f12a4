"""Vectors of a GGUF file through llama.cpp, as llama-cpp-python brings it."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlexport.errors import ArtifactError, missing_extra
from mlexport.model import TextFacts
from mlexport.tensors import Float32

# llama.cpp reserves micro-batch × vocabulary numbers for an output head that embedding does not use
MICRO_BATCH = 128
_SHORTEST_CONTEXT = 512
# A token is at least one byte of text; special tokens come on top
_SPARE_TOKENS = 8
# enum ggml_type
_F32 = 0


class LlamaEmbedder:
    """A GGUF model: llama.cpp's own tokenizer, pooling from the file, one text after the other.

    llama.cpp has no NFC normaliser, so that is applied here. `Llama.embed` of llama-cpp-python cuts a long text
    without its end token; here the end token stays.
    """

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int) -> None:
        try:
            from llama_cpp import llama_cpp  # noqa: PLC0415
        except ImportError:
            raise missing_extra("llama_cpp", "gguf", "target gguf") from None
        self.api: Any = llama_cpp
        self.text, self.dim = text, dim
        # llama.cpp's loading report goes to standard error through this logger
        logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(folder / model_file).encode(), parameters)
        if not self.model:
            raise ArtifactError(f"{folder / model_file} is refused by llama.cpp: damaged, or made for a newer one")
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.hidden = llama_cpp.llama_model_n_embd(self.model)
        self.context: Any = None
        self.context_tokens = 0

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
            vectors[place] = self._pooled(ids)[: self.dim]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors

    def close(self) -> None:
        """Free the model and its buffers."""
        self._free_context()
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
        parameters = self.api.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = size, size, min(size, MICRO_BATCH)
        parameters.embeddings = True
        # A pooled batch in several micro-batches is only right for causal attention: said, not left to a default
        parameters.attention_type = self.api.LLAMA_ATTENTION_TYPE_CAUSAL
        # The default cache rounds keys and values to f16, and the worst of random weights to cosine .99998
        parameters.type_k = parameters.type_v = _F32
        parameters.flash_attn_type = self.api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        # Half of the logical cores, as llama-cpp-python does: ggml's threads spin while they wait for each other,
        # so one that shares its core with another process holds up all (measured: 50 times slower)
        parameters.n_threads = parameters.n_threads_batch = max(1, (os.cpu_count() or 1) // 2)
        self.context = self.api.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise ArtifactError(f"llama.cpp has no memory for a text of {tokens} tokens: shorten it, or free some")
        self.context_tokens = size

    def _pooled(self, ids: Sequence[int]) -> Float32:
        """llama.cpp's pooled vector of one text, float32 [hidden], not normalised."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)
        array = (self.api.llama_token * len(ids))(*ids)
        code = self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(ids)))
        found = self.api.llama_get_embeddings_seq(self.context, 0) if code == 0 else None
        if not found:
            raise ArtifactError(f"llama.cpp could not run a text of {len(ids)} tokens (code {code})")
        return np.ctypeslib.as_array(found, shape=(self.hidden,)).copy()

    def _free_context(self) -> None:
        if self.context:
            self.api.llama_free(self.context)
            self.context, self.context_tokens = None, 0
