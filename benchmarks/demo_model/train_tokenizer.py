"""A byte-level BPE tokenizer with Qwen2's pre-tokeniser, trained on the corpus.

    python benchmarks/demo_model/train_tokenizer.py --work WORK

Writes WORK/tokenizer.json. Only training texts are read. The end of text
`<|im_end|>` is appended by the tokenizer itself (its post-processor), as last-token
pooling needs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

VOCABULARY = 16384
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
END = "<|im_end|>"
# Qwen2's split rule (transformers, Qwen2Tokenizer): contractions, words, single digits, punctuation, newlines
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build() -> Tokenizer:
    """An untrained tokenizer: NFC, Qwen2's split, bytes as characters."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    rows = (json.loads(line) for line in (work / "rows.jsonl").open())
    texts = dict.fromkeys(text for row in rows if not row["held_out"] for text in (row["title"], row["lead"]))
    tokenizer = build()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    # After the merges, as in Qwen2's vocabulary: a prefix of the ids is then a nested vocabulary
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    tokenizer.save(str(work / "tokenizer.json"))
    print(f"{len(texts)} texts, {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
