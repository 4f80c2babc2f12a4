"""Batches of (title, lead) token ids with the teacher vectors of their English originals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

QUERY_PROMPT = "Query: "
# Longest texts in tokens, EOS included: mostly short (cheap), sometimes long (no length is new later)
CUTS = (32, 48, 80)
CUT_SHARES = (0.5, 0.35, 0.15)
LANGUAGE_POWER = 0.7  # small languages are seen more often than their share
ENGLISH_BOOST = 1.5


class Pairs:
    """Training rows as ragged token ids, sampled by language."""

    def __init__(self, work: Path, seed: int) -> None:
        rows = [row for line in (work / "rows.jsonl").open() if not (row := json.loads(line))["held_out"]]
        tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
        self.random = np.random.default_rng(seed)
        self.end = tokenizer.token_to_id("<|im_end|>")
        self.prompt = np.array(tokenizer.encode(QUERY_PROMPT, add_special_tokens=False).ids)
        self.titles = self._encode(tokenizer, [row["title"] for row in rows])
        # With the prompt the first word is split differently: encoded whole, not pasted together
        self.prompted = self._encode(tokenizer, [QUERY_PROMPT + row["title"] for row in rows])
        self.leads = self._encode(tokenizer, [row["lead"] for row in rows])
        place = {text: i for i, text in enumerate(json.loads((work / "texts.json").read_text()))}
        self.teacher = torch.from_numpy(np.load(work / "teacher.npy"))
        self.title_teacher = np.array([place[row["title_en"]] for row in rows])
        self.lead_teacher = np.array([place[row["lead_en"]] for row in rows])
        languages = np.array([row["language"] for row in rows])
        names, counts = np.unique(languages, return_counts=True)
        share = counts**LANGUAGE_POWER * np.where(names == "en", ENGLISH_BOOST, 1.0)
        self.languages = [np.flatnonzero(languages == name) for name in names]
        self.share = share / share.sum()

    def _encode(self, tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
        out: list[np.ndarray] = []
        for start in range(0, len(texts), 10000):
            batch = tokenizer.encode_batch_fast(texts[start : start + 10000], add_special_tokens=False)
            out.extend(np.array(encoding.ids, dtype=np.uint16) for encoding in batch)
        return out

    def batch(self, n: int) -> tuple[list[Tensor], Tensor]:
        """2n ragged id vectors (n titles, their n leads) and teacher vectors, float32 [2n, 256]."""
        cut = int(self.random.choice(CUTS, p=CUT_SHARES)) - 1
        counts = self.random.multinomial(n, self.share)
        rows = np.concatenate([self.random.choice(where, k) for where, k in zip(self.languages, counts, strict=True)])
        prompted = self.random.random(n) < 0.5
        titles = [
            self.prompted[i] if with_prompt else self.titles[i] for i, with_prompt in zip(rows, prompted, strict=True)
        ]
        texts = titles + [self.leads[i] for i in rows]
        ids = [torch.tensor([*text[:cut].tolist(), self.end]) for text in texts]
        teacher = np.concatenate([self.title_teacher[rows], self.lead_teacher[rows]])
        return ids, self.teacher[teacher].float()
