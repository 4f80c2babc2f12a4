# SPDX-License-Identifier: Apache-2.0
"""What runtimes that take token ids have in common."""

import numpy as np
from base import MODEL, Base
from tokenizers import Tokenizer


class IdsBase(Base):
    """A model that takes token ids: tokenizer.json through the `tokenizers` library."""

    def __init__(self, folder=MODEL):
        super().__init__(folder)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def ids(self, text):
        """Token ids, cut to the longest text; the end token stays last, because its vector is the text's."""
        tokens = self.facts["tokens"]
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [*ids[: tokens["max_length"] - 1], tokens["end_id"]]

    def vectors(self, texts):
        return self.outputs(texts, "sentence_embedding")

    def stored(self, texts):
        return self.outputs(texts, self.facts["vectors"]["output"] or "sentence_embedding")

    def outputs(self, texts, name):
        """An output of the model for each text, one text at a time."""
        return np.stack([self.run(self.feed(self.ids(text)), name)[0] for text in texts])

    def feed(self, ids):
        """Inputs, int64 [1, tokens]; of a model for accelerators, which has one fixed shape, in that shape."""
        rows, width = self.shape or (1, len(ids))
        input_ids = np.full((rows, width), self.facts["tokens"]["pad_id"], dtype=np.int64)
        mask = np.zeros_like(input_ids)
        input_ids[:, : len(ids)], mask[:, : len(ids)] = ids, 1
        return {"input_ids": input_ids, "attention_mask": mask}
