"""Run by clients.py in an environment without mlexport: FOLDER FILE < ["text", …], answers as JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from optimum.onnxruntime import ORTModelForFeatureExtraction
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer


def main() -> None:
    """Print one answer a client."""
    folder, file = Path(sys.argv[1]), sys.argv[2]
    texts = json.load(sys.stdin)
    json.dump([through_sentence_transformers(folder, file, texts), through_optimum(folder, file, texts)], sys.stdout)


def through_sentence_transformers(folder: Path, file: str, texts: list[str]) -> dict[str, Any]:
    """Its prompts, its pooling."""
    # Only model.onnx is found without its name
    chosen = {} if file == "model.onnx" else {"file_name": f"onnx/{file}"}
    model = SentenceTransformer(str(folder), backend="onnx", device="cpu", model_kwargs=chosen)
    return {
        "client": f"SentenceTransformer(backend='onnx') {version('sentence-transformers')}",
        "texts": model.encode(texts).tolist(),
        "queries": model.encode(texts, prompt_name="query").tolist(),
    }


def through_optimum(folder: Path, file: str, texts: list[str]) -> dict[str, Any]:
    """The model alone: the last position of each row, padded left."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = ORTModelForFeatureExtraction.from_pretrained(folder, subfolder="onnx", file_name=file)
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]

    def embed(prompt: str) -> Any:
        rows = []
        for start in range(0, len(texts), 8):
            part = [prompt + text for text in texts[start : start + 8]]
            batch = tokenizer(part, padding=True, truncation=True, return_tensors="np")
            rows.append(model(**batch).last_hidden_state[:, -1])
        return np.concatenate(rows).tolist()

    versions = f"{version('optimum-onnx')}, transformers {version('transformers')}"
    return {
        "client": f"ORTModelForFeatureExtraction, optimum-onnx {versions}",
        "texts": embed(""),
        "queries": embed(prompts["query"]),
    }


if __name__ == "__main__":
    main()
