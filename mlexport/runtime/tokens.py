"""Token ids by the checkpoint's own tokenizer.json, for runtimes that bring no tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlexport.errors import ArtifactError
from mlexport.model import TextFacts


class TextEncoder:
    """tokenizer.json of a folder through the `tokenizers` library: no torch, no transformers."""

    def __init__(self, folder: Path, text: TextFacts) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415

        self.text = text
        path = folder / "tokenizer.json"
        try:
            self.tokenizer = Tokenizer.from_buffer(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, cut to the longest text with the end token last."""
        keep = self.text.max_length - 1
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[*one.ids[:keep], self.text.end_id] for one in encoded]
