# SPDX-License-Identifier: Apache-2.0
"""The model in llama.cpp, through llama-cpp-python's low-level functions.

`Llama.embed` would do for short texts; it cuts a long one without its end token, whose vector is the text's.
"""

import os
import unicodedata

import llama_cpp as llama
import numpy as np
from base import MODEL, Base

MICRO_BATCH = 128


class Embedder(Base):
    def __init__(self, folder=MODEL):
        super().__init__(folder)
        llama.llama_log_set(_silent, None)
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(str(self.file).encode(), llama.llama_model_default_params())
        if not self.model:
            raise OSError(f"llama.cpp cannot load {self.file}")
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.hidden = llama.llama_model_n_embd(self.model)
        self.context, self.room = None, 0

    def ids(self, text):
        """Token ids by llama.cpp, cut to the longest text with the end token last; it knows no Unicode NFC."""
        data, tokens = unicodedata.normalize("NFC", text).encode(errors="replace"), self.facts["tokens"]
        ids = (llama.llama_token * (len(data) + 8))()
        count = llama.llama_tokenize(self.vocabulary, data, len(data), ids, len(ids), False, True)
        return [*ids[:count][: tokens["max_length"] - 1], tokens["end_id"]]

    def vectors(self, texts):
        pooled = np.stack([self._pooled(self.ids(text)) for text in texts])[:, : self.facts["dim"]]
        return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), np.finfo(np.float32).tiny)

    def _pooled(self, ids):
        self._make_room(len(ids))
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        # In a variable: the batch points into it
        array = (llama.llama_token * len(ids))(*ids)
        if llama.llama_decode(self.context, llama.llama_batch_get_one(array, len(ids))):
            raise RuntimeError(f"llama.cpp cannot run a text of {len(ids)} tokens")
        found = llama.llama_get_embeddings_seq(self.context, 0)
        return np.ctypeslib.as_array(found, shape=(self.hidden,)).copy()

    def _make_room(self, tokens):
        """A context as long as the text needs; one for the longest text can take gigabytes."""
        if tokens <= self.room:
            return
        if self.context:
            llama.llama_free(self.context)
        self.room = max(512, 1 << (tokens - 1).bit_length())
        options = llama.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = self.room, self.room, MICRO_BATCH
        # llama.cpp's threads spin while they wait: more than there are free cores slow each other down
        options.n_threads = options.n_threads_batch = max(1, (os.cpu_count() or 1) // 2)
        options.embeddings = True
        # Pooling over several micro-batches is right for causal attention alone
        options.attention_type = llama.LLAMA_ATTENTION_TYPE_CAUSAL
        self.context = llama.llama_init_from_model(self.model, options)


@llama.llama_log_callback
def _silent(level, text, data):
    pass
