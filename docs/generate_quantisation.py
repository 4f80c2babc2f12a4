"""Write docs/quantisation.md from benchmarks/results/quantisation.json; `make docs` runs it.

python docs/generate_quantisation.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results" / "quantisation.json"
OUT = DOCS / "quantisation.md"
Row = Mapping[str, Any]

INTRODUCTION = """\
# Fewer bits, and what they cost

`--precision` names the format's own scheme; `--dry-run` prints what each tensor gets, with its block size, its exact
bytes and why. Norms stay in f32. A plain artifact rounds each number to the nearest one its block can hold.

`--calibrate texts.txt` (one a line, or .jsonl) or `--calibrate builtin` (112 sentences in 50 languages, and 144
documents of the evaluation set, none of its queries) rounds on text instead. A child process runs transformers' own
layers, one in memory at a time, and for each matrix product keeps the second moments of its inputs, H = Σ x xᵀ:

- columns that the norm in front of them can make alike are made so, by powers of two: in float32 the product stays the
  same to the bit;
- the matrix is corrected for what earlier layers, rounded already, changed about its inputs;
- columns are rounded one after the other, and each error is made up for by those still free (GPTQ, Frantar et al.,
  2022, arXiv:2210.17323), then codes are moved one by one while the product's error falls (QuantEase, Behdin et al.,
  2023, arXiv:2309.01885);
- scales are the format's own kernel's: llama.cpp's with H's diagonal as importance matrix, in the form that
  `llama_model_quantize` takes.

The file is of the same format as a plain one. Outliers that were found, the texts' SHA-256 and their number are printed
and lie in the manifest.

`--precision auto --min-cosine 0.99` (or `--max-size 60MB`) measures what each tensor costs at each precision
(`mlexport sensitivity` prints it), takes the smallest mixture whose predicted loss meets the bound, writes it, verifies
it in its own runtime, and tries again from what it found; predicted and verified loss are printed.
"""

NOTE = """
Cosines are to transformers in float32, mean and lowest over {texts} probe texts, none of which is a calibration text;
loss is 1 - mean. `python benchmarks/quantisation.py` measures them again; environment and numbers are in
[benchmarks/results/quantisation.json](../benchmarks/results/quantisation.json).
"""


def megabytes(row: Row) -> str:
    return f"{row['tensor_bytes'] / 1e6:.1f}"


def comparison(rows: Sequence[Row]) -> list[str]:
    """A line for each scheme that was calibrated, and for those that were not."""
    lines = ["| target | precision | MB | plain mean | lowest | calibrated mean | lowest | loss, of plain |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|--:|")
    calibrated = {(row["target"], row["precision"]): row for row in rows if row["calibrated"]}
    plain = {(row["target"], row["precision"]): row for row in rows if not row["calibrated"]}
    for key, row in plain.items():
        better = calibrated.get(key)
        cells = [row["target"], row["precision"], megabytes(row), *cosines(row)]
        share = "" if better is None else f"{better['loss'] / row['loss']:.2f}"
        cells += ["–", "–", "–"] if better is None else [*cosines(better), share]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cosines(row: Row) -> list[str]:
    return [f"{row['mean_cosine']:.5f}", f"{row['min_cosine']:.5f}"]


def mixtures(rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    """Each mixture beside the smallest uniform precision, plain or calibrated, that meets the same bound."""
    lines = ["| layers | target | bound | MB | mean | predicted loss | verified | smallest uniform that meets it |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|---|")
    for row in rows:
        same = [o for o in others if (o["layers"], o["target"]) == (row["layers"], row["target"])]
        uniform = min((o for o in same if o["mean_cosine"] >= row["asked"]), key=lambda o: o["tensor_bytes"])
        name = f"{uniform['precision']}{' calibrated' if uniform['calibrated'] else ''}, {megabytes(uniform)} MB"
        cells = [row["layers"], row["target"], row["asked"], megabytes(row), cosines(row)[0]]
        cells += [f"{row['predicted_loss']:.4f}", f"{row['loss']:.4f}", name]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def page(content: Mapping[str, Any]) -> str:
    """docs/quantisation.md."""
    rows = content["rows"]
    plain = [row for row in rows if "asked" not in row]
    parts = [INTRODUCTION]
    for layers in sorted({row["layers"] for row in plain if row["model"] == "demo"}):
        parts.append(f"## The demo, {layers} layers\n")
        parts += comparison([row for row in plain if row["model"] == "demo" and row["layers"] == layers])
        parts.append("")
    planted = [row for row in plain if row["model"] != "demo"]
    if planted:
        parts.append(f"## The {planted[0]['model']}, {planted[0]['layers']} layers\n")
        parts.append("A copy that computes the same function, with a few columns far beyond the others.\n")
        parts += [*comparison(planted), ""]
    parts.append("## Mixtures\n")
    parts += mixtures([row for row in rows if "asked" in row], [row for row in plain if row["model"] == "demo"])
    return "\n".join(parts) + "\n" + NOTE.format(texts=54)


if __name__ == "__main__":
    OUT.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
