"""A small grid, its retrieval set, and its recipe: what the tests of sweeps share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.tiny import make_tiny

SUBJECTS = ("soup", "bread", "wine", "Käse", "茶", "кофе", "rice", "salt")
GRID: Mapping[str, object] = {
    "layers": [1, 3],
    "rank": [None, 8],
    "dim": [64, 16],
    "precision": ["int8"],
    "target": ["gguf", "onnx", "hf"],
}
# Four bodies, eight points
SMALL_GRID = {"layers": [1, 2], "rank": [None, 8], "dim": [64, 16], "precision": ["f32"], "target": ["onnx"]}


def write_data(folder: Path) -> Path:
    """24 documents, 16 queries in two languages, two relevant documents each."""
    documents = [
        {"_id": f"d{i}", "title": subject, "text": " ".join([f"about {subject} number {i}"] * (1 + i % 5))}
        for i, subject in enumerate(SUBJECTS * 3)
    ]
    queries = [
        {"_id": f"q{i}", "text": f"{word} {subject}", "metadata": {"language": language}}
        for i, (subject, (word, language)) in enumerate(
            (subject, choice) for subject in SUBJECTS for choice in (("about", "en"), ("über", "de"))
        )
    ]
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    pairs = "\n".join(f"q{i}\td{i // 2 + 8 * k}\t1" for i in range(16) for k in (0, 1))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{pairs}\n", encoding="utf-8")
    return folder


def write_recipe(path: Path, model: Path, data: Path, grid: Mapping[str, object], **more: object) -> Path:
    """A recipe with a grid; `more` are keys of it."""
    recipe: dict[str, object] = {
        "title": "a small grid",
        "whom": "tests",
        "model": str(model),
        "targets": ["gguf"],
        "cut": {"allow_untrained": True},
        "evaluation": {"retention": True, "data": str(data)},
        "grid": dict(grid),
        **more,
    }
    # JSON is YAML
    path.write_text(json.dumps(recipe, ensure_ascii=False), encoding="utf-8")
    return path


def small_recipe(folder: Path) -> Path:
    """A recipe of the small grid of a tiny model, all that it needs beside it."""
    model = make_tiny(folder / "model", max_length=12)
    return write_recipe(folder / "grid.yaml", model, write_data(folder / "data"), SMALL_GRID)
