"""What rounding on calibration text gains: cosine to transformers, plain and calibrated, of every integer precision.

    python benchmarks/quantisation.py --out benchmarks/results/quantisation.json

The demo with all layers and with 8, a copy of it with planted outlier columns, and mixtures of precision "auto" beside
the smallest uniform precision that meets the same bound. Cosines are those of `mlexport`'s verification: 54 texts, none
of which is a calibration text. The file is written after every measurement; what it holds is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from environment import environment

from mlexport import pipeline
from mlexport.artifact import Variant, VerifyReport
from mlexport.request import SliceRequest
from mlexport.spec import parse_target, resolve_precision

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

PRECISIONS = {
    "gguf": ["q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "iq4_xs"],
    "onnx": ["int8", "int8_b32", "int4_b32", "int4_b64", "int4_b128"],
    "openvino": ["int8", "int4_b32", "int4_b64", "int4_b128"],
}
# Calibrated: a child process each
CALIBRATED = {
    "gguf": ["q4_k_m", "q4_0", "iq4_xs"],
    "onnx": ["int8", "int4_b32", "int4_b128"],
    "openvino": ["int8", "int4_b32", "int4_b128"],
}
INT4 = {"gguf": ["q4_k_m", "q4_0"], "onnx": ["int4_b32"], "openvino": ["int4_b32"]}
MIN_COSINE = 0.99
DEPTHS = (8, 12)


class Results:
    """Rows, written to the file whenever one is added."""

    def __init__(self, out: Path) -> None:
        self.out = out
        libraries = ["llama-cpp-python", "onnxruntime", "openvino", "torch", "transformers", "numpy"]
        self.content: dict[str, Any] = {"environment": environment(libraries), "rows": []}
        self.rows: list[dict[str, object]] = []
        if out.exists():
            self.content = json.loads(out.read_text(encoding="utf-8"))
            self.rows = self.content["rows"]

    def missing(self, model: str, layers: int, target: str, precisions: Sequence[str], *, calibrated: bool) -> bool:
        """Whether one of them is not in the file yet."""
        wanted = [
            {"model": model, "layers": layers, "target": target, "precision": name, "calibrated": calibrated}
            for name in (resolve_precision(parse_target(target), given) for given in precisions)
        ]
        return not all(any(row.items() >= keys.items() for row in self.rows) for keys in wanted)

    def add(self, key: tuple[str, int, str], variant: Variant, report: VerifyReport) -> None:
        """One model file of (model, layers, target)."""
        model, layers, target = key
        mean, lowest = report.mean_cosine or 0.0, report.min_cosine or 0.0
        row: dict[str, object] = {
            "model": model,
            "layers": layers,
            "target": target,
            "precision": variant.precision,
            "calibrated": variant.calibration is not None,
            "tensor_bytes": sum(row.bytes for row in variant.plan),
            "mean_cosine": round(mean, 6),
            "min_cosine": round(lowest, 6),
            "loss": round(1 - mean, 6),
        }
        if variant.auto is not None:
            row |= {"asked": variant.auto.min_cosine, "predicted_loss": round(variant.auto.predicted_loss, 6)}
            row |= {"tries": variant.auto.tries}
        self.rows.append(row)
        self.content["rows"] = self.rows
        self.out.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        print(f"{model} L{layers} {target:9}{variant.precision:14}", end="")
        print(f"{'calibrated' if row['calibrated'] else 'plain':11}{row['tensor_bytes']:>11,}  {mean:.5f} {lowest:.5f}")


def write(results: Results, model: tuple[str, str], layers: int, target: str, **options: Any) -> None:
    """Make an artifact, and keep what its verification found, also where it would refuse the artifact."""
    name, source = model
    auto = "min_cosine" in options
    calibrated = auto or "calibrate" in options
    if not results.missing(name, layers, target, options["precisions"], calibrated=calibrated):
        return
    with TemporaryDirectory() as work:
        folder = Path(work) / "a"
        request = SliceRequest(model=source, layers=layers, targets=[target], out=folder, **options)
        # A mixture is chosen by its verification
        [made] = pipeline.slice_model(request, verify="full" if auto else "off")
        reports = {} if auto else pipeline.verify_artifact(folder)
        for variant in made.artifact.manifest.variants:
            results.add((name, layers, target), variant, reports.get(variant.name, variant.verification))


def uniform(results: Results, model: tuple[str, str], layers: int, sets: Sequence[dict[str, list[str]]]) -> None:
    """Plain and calibrated."""
    for target in PRECISIONS:
        write(results, model, layers, target, precisions=sets[0][target])
        write(results, model, layers, target, precisions=sets[1][target], calibrate="builtin")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS))
    arguments = parser.parse_args()
    results = Results(arguments.out)
    demo = ("demo", "demo")
    from tests.planted import make_planted  # noqa: PLC0415

    for layers in arguments.depths:
        uniform(results, demo, layers, (PRECISIONS, CALIBRATED))
    with TemporaryDirectory() as work:
        planted = ("demo with planted outliers", str(make_planted(Path(work) / "planted")))
        for target, precisions in INT4.items():
            write(results, planted, 8, target, precisions=precisions)
            write(results, planted, 8, target, precisions=precisions, calibrate="builtin")
    for layers in arguments.depths:
        for target in INT4:
            write(results, demo, layers, target, precisions=["auto"], min_cosine=MIN_COSINE)


if __name__ == "__main__":
    main()
