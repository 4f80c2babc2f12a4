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
from dataclasses import asdict, dataclass
from pathlib import Path

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


def measure(work: Path) -> dict[str, object]:
    """Every cut, and the ways to store the vectors of the whole model."""
    cuts = grid()
    folders = [write(cut, work) for cut in cuts]
    found = evaluation_data(evaluate_artifacts(folders))
    points = []
    for cut, row in zip(cuts, found["artifacts"], strict=True):  # type: ignore[call-overload]
        kept = row["retention"]
        names = ("ndcg", "retained_ndcg", "retained_recall", "mean_of_languages", "overlap", "correlation")
        points.append({**asdict(cut), "bytes": row["bytes"], **{name: kept[name] for name in names}})
        print(f"{cut.name}: {row['bytes'] / 1e6:.2f} MB, {100 * kept['retained_ndcg']['value']:.2f}%", flush=True)
    whole = write(Cut(target="onnx", precision="f32", layers=max(LAYERS), rank=None), work)
    vectors = evaluation_data(evaluate_artifacts([whole], vectors=("f32", "int8", "binary")))
    stored = vectors["artifacts"][0]["retention"]["stored"]  # type: ignore[index]
    return {"full": found["full"], "queries": found["queries"], "documents": found["documents"], "points": points} | {
        "full_ndcg": found["artifacts"][0]["retention"]["full_ndcg"],  # type: ignore[index]
        "stored_vectors": stored,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "retention")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "retention.json")
    args = parser.parse_args()
    facts = environment(LIBRARIES)
    result = {"how": "benchmarks/retention.py", "environment": facts} | measure(args.work)
    args.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
