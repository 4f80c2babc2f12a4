# SPDX-License-Identifier: Apache-2.0
"""What every runtime has in common: prompts, how vectors are stored, and how they are compared."""

import json
from pathlib import Path

import numpy as np

MODEL = Path(__file__).parent / "model"


class Base:
    """Texts to vectors; a subclass computes `vectors` and may override `stored`."""

    def __init__(self, folder=MODEL):
        self.folder = folder
        self.facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.file = folder / self.facts["file"]

    def embed(self, texts, *, query=False):
        """Vectors, float32 [texts, dim], of length 1. Queries get another prompt than documents."""
        return self.vectors(self.prompted(texts, "query" if query else "document"))

    def embed_for_storage(self, texts):
        """Documents as they are stored: float32 or int8 [texts, dim], or uint8 [texts, dim / 8], a sign a bit."""
        return self.stored(self.prompted(texts, "document"))

    def similarity(self, query, stored):
        """Cosines of one query's vector and stored ones, float32 [documents]; with signs alone only their order."""
        kind = self.facts["vectors"]["precision"]
        if kind == "binary":
            return (np.unpackbits(stored, axis=1, count=len(query)) * np.float32(2) - 1) @ query / len(query) ** 0.5
        scale = self.facts["vectors"]["range"] / 127 if kind == "int8" else 1
        return stored.astype(np.float32) @ query * np.float32(scale)

    def prompted(self, texts, name):
        """The texts with a prompt in front, if the model has one of that name."""
        return [self.facts["prompts"].get(name, "") + text for text in texts]

    def stored(self, texts):
        """Made from the float32 vectors; a model that gives them itself overrides this."""
        vectors, kind = self.vectors(texts), self.facts["vectors"]["precision"]
        if kind == "binary":
            return np.packbits(vectors > 0, axis=1)
        if kind == "int8":
            scaled = np.rint(vectors * np.float32(127 / self.facts["vectors"]["range"]))
            return np.clip(scaled, -127, 127).astype(np.int8)
        return vectors
