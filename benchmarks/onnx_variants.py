"""Which ONNX graph is the fastest: standard operators against ONNX Runtime's fused ones, in each precision.

    python benchmarks/onnx_variants.py --work FOLDER [--rounds 9]

The first 8 layers, 128 dims, of a checkpoint with ML-Embed-0.6B's shapes (real_shapes.py; random weights). Every
round runs every variant once, one after the other, so that a change of the machine's speed meets all of them; medians
are compared. The result goes to benchmarks/results/onnx_variants.json with its environment, and is why
`mlexport.export.onnx.graph.Options` has the default it has.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import real_shapes
from environment import environment
from llama_sources import fetch

from mlexport.checkpoint import open_checkpoint
from mlexport.export.onnx.graph import EmbedderGraph, Options, Source
from mlexport.export.onnx.stream import write_model
from mlexport.model import SubModel
from mlexport.quantize.plan import plan_tensors
from mlexport.slicing import cut
from mlexport.spec import PRECISIONS, SubModelSpec, Target

RESULT = Path(__file__).parent / "results" / "onnx_variants.json"
SPEC = SubModelSpec(layers=8, rank=None, dim=128)
LENGTHS = (16, 128, 512)
VARIANTS = {"standard": Options(), "fused": Options(fused=True)}


def write(sub: SubModel, precision: str, options: Options, path: Path) -> None:
    """Write one variant."""
    schemes = {row.name: row.scheme for row in plan_tensors(sub, Target.ONNX, precision, None)}
    graph = EmbedderGraph(Source(config=sub.config, tensors=sub.tensors, schemes=schemes, dim=sub.spec.dim), options)
    model = graph.build({})
    write_model(model, graph.b.weights, path, lambda _: None)


def session(path: Path) -> ort.InferenceSession:
    """A session whose threads rest between two calls: on two cores they would take the next session's time."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = os.cpu_count() or 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def measure(sessions: dict[str, ort.InferenceSession], length: int, rounds: int) -> dict[str, dict[str, object]]:
    """Milliseconds of each variant, batch 1, and the cosine to the first."""
    ids = np.random.default_rng(length).integers(0, 150_000, (1, length))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    samples: dict[str, list[float]] = {name: [] for name in sessions}
    vectors = {}
    for number in range(rounds + 1):
        for name, one in sessions.items():
            start = time.perf_counter()
            [vectors[name]] = one.run(["sentence_embedding"], feed)
            if number:
                samples[name].append((time.perf_counter() - start) * 1e3)
    first = next(iter(vectors.values()))
    return {
        name: {
            "median_ms": round(statistics.median(found), 2),
            "cosine": round(float((vectors[name] * first).sum()), 6),
            "samples_ms": [round(value, 2) for value in found],
        }
        for name, found in samples.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="about 5 GB are written there, and kept")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    model = args.work / "model"
    if not (model / "V.pth").exists():
        real_shapes.make(fetch(args.work / "llama.cpp"), model)
    sub = cut(open_checkpoint(str(model)), SPEC)
    where = environment(("mlexport", "onnxruntime", "numpy"))
    (args.work / "onnx").mkdir(exist_ok=True)
    sessions = {}
    for precision in dict.fromkeys(("f32", *PRECISIONS[Target.ONNX].values())):
        for name, options in VARIANTS.items():
            path = args.work / "onnx" / f"{precision}-{name}.onnx"
            write(sub, precision, options, path)
            sessions[f"{precision} {name}"] = session(path)
    found = {length: measure(sessions, length, args.rounds) for length in LENGTHS}
    RESULT.parent.mkdir(exist_ok=True)
    result = {"what": f"ONNX Runtime, batch 1, {SPEC.name}, ML-Embed-0.6B's shapes", "tokens": found}
    RESULT.write_text(json.dumps(result | {"environment": where}, indent=1) + "\n", encoding="utf-8")
    for length, rows in found.items():
        for name, row in rows.items():
            print(f"{length:5} tokens  {name:18} {row['median_ms']:8} ms  cosine {row['cosine']}")


if __name__ == "__main__":
    main()
