"""Measure what cuts of the demo weigh and keep: every point of docs/size-quality.svg.

    python benchmarks/retention.py [--work out/retention] [--out benchmarks/results/retention.json]

Writes each cut with `mlexport slice`, embeds the whole built-in set with it in its own runtime, and compares with the
full model as `mlexport eval` does (its code, so: transformers on the uncut checkpoint as the reference, paired
bootstrap). Bytes are those of all files a user ships, the manifest aside. Times are not measured here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from environment import environment

from mlexport import pipeline
from mlexport.evaluation import evaluate_artifacts
from mlexport.report.data import evaluation_data
from mlexport.request import SliceRequest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (1, 2, 4, 8, 12)
LIBRARIES = ("mlexport", "numpy", "transformers", "torch", "onnxruntime", "openvino", "llama-cpp-python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A point of the grid: all dims, since dims change next to nothing of a model's bytes."""

    target: str
    precision: str
    layers: int
    rank: int | None

    @property
    def name(self) -> str:
        return f"{self.target}-{self.precision}-L{self.layers}" + ("" if self.rank is None else f"-R{self.rank}")


def grid() -> list[Cut]:
    """Ranks where they save bytes: GGUF stores the folded table at any rank."""
    ranks = {"onnx": (None, 64, 32), "openvino": (None,), "gguf": (None,)}
    precisions = {"onnx": ("f32", "int8", "int4"), "openvino": ("int8", "int4"), "gguf": ("int8", "int4")}
    return [
        Cut(target=target, precision=precision, layers=layers, rank=rank)
        for target in ranks
        for precision, layers, rank in itertools.product(precisions[target], LAYERS, ranks[target])
    ]


def write(cut: Cut, work: Path) -> Path:
    """The artifact of a cut; not verified, since its vectors are compared right after."""
    folder = work / cut.name
    shutil.rmtree(folder, ignore_errors=True)
    request = SliceRequest(
        layers=cut.layers, rank=cut.rank, targets=(cut.target,), precisions=(cut.precision,), out=folder
    )
    pipeline.slice_model(request, verify="off")
    return folder


def measure(cuts: Sequence[Cut], work: Path) -> list[dict[str, Any]]:
    """Bytes and retention of cuts."""
    found = evaluation_data(evaluate_artifacts([write(cut, work) for cut in cuts]))
    points = []
    for cut, row in zip(cuts, cast(list[dict[str, Any]], found["artifacts"]), strict=True):
        kept = row["retention"]
        names = ("ndcg", "retained_ndcg", "retained_recall", "mean_of_languages", "overlap", "correlation")
        points.append({**asdict(cut), "bytes": row["bytes"], **{name: kept[name] for name in names}})
        print(f"{cut.name}: {row['bytes'] / 1e6:.2f} MB, {100 * kept['retained_ndcg']['value']:.2f}%", flush=True)
    return points


def measure_vectors(work: Path) -> dict[str, Any]:
    """The ways to store the vectors of the whole model, and what everything is compared with."""
    whole = write(Cut(target="onnx", precision="f32", layers=max(LAYERS), rank=None), work)
    found = cast(dict[str, Any], evaluation_data(evaluate_artifacts([whole], vectors=("f32", "int8", "binary"))))
    kept = found["artifacts"][0]["retention"]
    facts = {name: found[name] for name in ("full", "queries", "documents")}
    return facts | {"full_ndcg": kept["full_ndcg"], "stored_vectors": kept["stored"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "retention")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "retention.json")
    parser.add_argument(
        "--only", metavar="TARGET-PRECISION", help="measure these points again, keep the others of --out"
    )
    args = parser.parse_args()
    facts = environment(LIBRARIES)
    cuts = [cut for cut in grid() if args.only is None or cut.name.startswith(f"{args.only}-")]
    points = {point_name(point): point for point in measure(cuts, args.work)}
    if args.only is None:
        result = {"how": "benchmarks/retention.py", "environment": facts, **measure_vectors(args.work)}
    else:
        result = json.loads(args.out.read_text(encoding="utf-8"))
        points = {point_name(point): point for point in result["points"]} | points
        result[f"environment_of_{args.only}"] = facts
    result["points"] = list(points.values())
    args.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def point_name(point: dict[str, Any]) -> str:
    """The name of the cut that was measured."""
    return Cut(**{field.name: point[field.name] for field in fields(Cut)}).name


if __name__ == "__main__":
    main()
