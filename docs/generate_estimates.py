"""Write docs/estimates.md from benchmarks/results/estimator.json; `make docs` runs it.

python docs/generate_estimates.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results" / "estimator.json"
OUT = DOCS / "estimates.md"

METHOD = """\
# Estimates, and how far they are off

```
mlexport estimate out/demo --profile raspberry-pi-5
mlexport estimate L8-D128 --target onnx --precision int8 --profile pixel-9-cpu --tokens 32,128
mlexport estimate L8-D128 --target onnx --precision f32 --static 1x128 --profile snapdragon-8-elite-npu
mlexport calibrate-device --out my-laptop.yaml && mlexport estimate out/demo --profile my-laptop.yaml
```

Nothing is run. An estimate is for choosing what to try on a device, not for promising a time.

## What is counted

Operations and bytes come from the file itself, its tensors left on the disk: an ONNX graph's nodes, an IR's XML, a
GGUF file's header. For a cut that was not made they come from the plan that `slice --dry-run` prints; a test holds the
two equal. Tests compare them with torch's own counter on transformers' model, with ONNX Runtime's profile, and with
gguf-py.

| part | operations (a multiply-add counts two) | bytes |
|---|---|---|
| matrix products | 2 · rows · columns · outputs; rows are tokens × batch | the matrix and its scales |
| last layer of an ONNX or OpenVINO graph | the same with one row a text, but for keys and values | the same |
| attention | 4 · queries · keys · heads · head_dim, masked pairs too | 4 · heads · queries · keys |
| token table | none; a rank cut's V is a matrix product | one row a token |
| between the products | none counted | 4 · rows · (columns + outputs) of every product |
| output head | 2 · tokens · hidden · vocabulary, **llama.cpp alone**, for nothing | the table once more |

llama.cpp takes 128 tokens at a time and attends to a multiple of 256 places of its cache, empty ones too; its matrices
are read again for each of these.

## Time

time = overhead + Σ over parts of max(operations / effective throughput, bytes / bandwidth): a roofline (Williams,
Waterman, Patterson, CACM 52, 2009) with throughput that models reached, never a marketed peak. Bandwidth does not bind
where the weights fit the profile's cache. A figure that is missing is replaced by the next precision's, called assumed,
and the output says so. The range runs from all figures at their best to all at their worst, divided and multiplied by
the factor that nine tenths of the checked cases needed; where a figure was assumed nothing was checked, and no coverage
is given.

Where a profile was calibrated (`mlexport calibrate-device`), a call is instead the sum of products at their scheme's
throughput for that number of rows, attention, bytes between the products, a time for each product and attention, and
one for the call. Those are solved by least squares without negative numbers from the times of small models: cuts of the
demo, and a random one of 1,024 × 3,072 with one layer and two. It needs the runtimes, and no torch.

Not counted: tokenising, loading, the first call, a warm phone's lower clock, other apps. An NPU gets no estimate for a
graph of any length, nor for an operator that is not on its list: the refusal names the `--static` to cut with.

Memory is estimated as the runtime's own, the weights (twice in ONNX Runtime and OpenVINO, which repack them), the
largest activations, and llama.cpp's cache and head buffer.
"""


def table(columns: list[str], rows: list[list[object]]) -> list[str]:
    """A Markdown table; numbers to the right."""
    numbers = [all(isinstance(row[place], int | float) for row in rows) for place in range(len(columns))]
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join("--:" if one else "---" for one in numbers) + "|"]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def percent(value: float) -> str:
    return f"{value:.0%}"


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    here, there = results["calibrated"], results["published"]
    machine = results["environment"]
    lines = [METHOD, "## Against measurement on one machine", ""]
    rounds = results["rounds"]
    lines.append(
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; each model in a process of its own, in "
        f"{rounds['calibration']} rounds (cuts: {rounds['cuts']}), the fastest round's median. "
        f"{sentence(here['summary'])} None of these cuts is among the models that the calibration timed."
    )
    groups = [
        [name, f["cases"], percent(f["median_error"]), percent(f["within_25_percent"])]
        for name, f in here["groups"].items()
    ]
    lines += ["", *table(["cases", "number", "median error", "within 25%"], groups), ""]
    keys = ("model", "target", "precision", "tokens", "measured_ms", "estimated_ms")
    cells = [[*(row[key] for key in keys), f"{row['error']:+.0%}"] for row in here["rows"]]
    columns = ["model", "target", "precision", "tokens", "measured ms", "estimated ms", "error"]
    lines += ["<details><summary>Each case</summary>", "", *table(columns, cells), "", "</details>", ""]
    lines += ["## Against published latencies", "", published(there), ""]
    cells = [
        [
            r["unit"],
            r["model"],
            r["tokens"],
            r["precision"],
            r["published_ms"],
            "–" if r["estimated_ms"] is None else r["estimated_ms"],
            "–" if r["error"] is None else f"{r['error']:+.0%}",
            r["note"] or "; ".join(r["from"]),
        ]
        for r in there["rows"]
    ]
    columns = ["unit", "model", "tokens", "precision", "published ms", "predicted ms", "error", "predicted from"]
    lines += [*table(columns, cells), "", shapes(there), "", "## Memory", ""]
    cells = [
        [name, f["cases"], f"{f['median_ratio']:.2f}", f"{f['lowest']:.2f}–{f['highest']:.2f}"]
        for name, f in results["memory"].items()
    ]
    lines.append("Estimated over the measured peak of the process, at the longest text:")
    lines += ["", *table(["target", "cases", "median", "range"], cells), ""]
    lines.append(
        "`python benchmarks/estimator.py` measures and predicts again; numbers and environment are in "
        "[benchmarks/results/estimator.json](../benchmarks/results/estimator.json)."
    )
    return "\n".join(lines) + "\n"


def sentence(summary: Mapping[str, Any]) -> str:
    return (
        f"{summary['cases']} cases: median error {summary['median_error']:.1%}, nine tenths within "
        f"{summary['p90_error']:.0%}; with a factor of {summary['factor']:g} the range holds {summary['coverage']:.0%}."
    )


def published(there: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{kind} {value:g}" for kind, value in there["attention_share"].items())
    return (
        "Each latency is predicted from the other latencies of its unit and precision, by the estimator's own "
        "arithmetic, attention at the products' throughput: leave-one-out. "
        f"{sentence(there['summary'])} A w8a16 row is predicted from its unit's f16 rows and the ratio of the two on "
        "other units. Rows without a partner cannot be predicted, and are listed.\n\n"
        "Long texts on CPUs are what this gets wrong: attention is slower there than the products. With a throughput "
        f"of its own, as a share of the products' fitted on all rows but the one predicted ({shares}), the median "
        f"error is {there['median_error_with_own_share']:.1%} and the largest "
        f"{there['largest_error_with_own_share']:.0%}. Shipped profiles have no such figure yet; calibrated ones have."
    )


def shapes(there: Mapping[str, Any]) -> str:
    found = dict.fromkeys(f"{row['model']}: {row['shape']}" for row in there["rows"])
    return "Shapes: " + ". ".join(found) + "."


def main() -> None:
    OUT.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
