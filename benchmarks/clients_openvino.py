"""Run by clients.py in an environment without mlexport: FOLDER < ["text", …], answers as JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from optimum.intel import OVModelForFeatureExtraction
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

# Their default on a processor with bf16; the file's own wish for f32 is a key that only mlexport reads
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}


def main() -> None:
    """Print one answer a client."""
    folder = Path(sys.argv[1])
    texts = json.load(sys.stdin)
    json.dump([through_sentence_transformers(folder, texts), through_optimum(folder, texts)], sys.stdout)


def through_sentence_transformers(folder: Path, texts: list[str]) -> dict[str, Any]:
    """Its prompts, its pooling."""
    model = SentenceTransformer(str(folder), backend="openvino", device="cpu", model_kwargs={"ov_config": SETTINGS})
    return {
        "client": f"SentenceTransformer(backend='openvino') {version('sentence-transformers')}",
        "texts": model.encode(texts).tolist(),
        "queries": model.encode(texts, prompt_name="query").tolist(),
    }


def through_optimum(folder: Path, texts: list[str]) -> dict[str, Any]:
    """The model alone: the last position of each row, padded left."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = OVModelForFeatureExtraction.from_pretrained(folder, subfolder="openvino", ov_config=SETTINGS)
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]

    def embed(prompt: str) -> Any:
        rows = []
        for start in range(0, len(texts), 8):
            part = [prompt + text for text in texts[start : start + 8]]
            batch = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
            rows.append(model(**batch).last_hidden_state[:, -1].numpy())
        return np.concatenate(rows).tolist()

    versions = f"{version('optimum-intel')}, transformers {version('transformers')}"
    return {
        "client": f"OVModelForFeatureExtraction, optimum-intel {versions}",
        "texts": embed(""),
        "queries": embed(prompts["query"]),
    }


if __name__ == "__main__":
    main()
