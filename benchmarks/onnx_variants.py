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
from pathlib import Path

import numpy as np
import real_shapes
from environment import environment
from llama_sources import fetch
from turns import WARM_UP, Contestant, take_turns

from mlexport.checkpoint import open_checkpoint
from mlexport.export.onnx.graph import EmbedderGraph, Options, Source
from mlexport.export.onnx.stream import write_model
from mlexport.model import SubModel
from mlexport.quantize.plan import plan_tensors
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target

RESULT = Path(__file__).parent / "results" / "onnx_variants.json"
SPEC = SubModelSpec(layers=8, rank=None, dim=128)
LENGTHS = (16, 128, 512)
# What differs in operators; other block sizes do not
MEASURED = ("f32", "f16", "int8", "int8_b32", "int4_b32")
VARIANTS = {"standard": Options(), "fused": Options(fused=True)}


def write(sub: SubModel, precision: str, options: Options, path: Path) -> None:
    """Write one variant."""
    schemes = {row.name: row.scheme for row in plan_tensors(sub, Target.ONNX, precision, None)}
    graph = EmbedderGraph(Source(config=sub.config, tensors=sub.tensors, schemes=schemes, dim=sub.spec.dim), options)
    model = graph.build({})
    write_model(model, graph.b.weights, path, lambda _: None)


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
    contestants = {}
    for precision in MEASURED:
        for name, options in VARIANTS.items():
            path = args.work / "onnx" / f"{precision}-{name}.onnx"
            write(sub, precision, options, path)
            contestants[f"{precision} {name}"] = Contestant("onnx", path, SPEC.dim)
    found = {}
    for length in LENGTHS:
        texts = np.random.default_rng(length).integers(0, 150_000, (WARM_UP + args.rounds, 1, length))
        found[length] = take_turns(contestants, list(texts))
    for one in contestants.values():
        one.close()
    RESULT.parent.mkdir(exist_ok=True)
    result = {"what": f"ONNX Runtime, batch 1, {SPEC.name}, ML-Embed-0.6B's shapes", "tokens": found}
    RESULT.write_text(json.dumps(result | {"environment": where}, indent=1) + "\n", encoding="utf-8")
    for length, rows in found.items():
        for name, row in rows.items():
            print(f"{length:5} tokens  {name:18} {row['median_ms']:8} ms  cosine {row['cosine']}")


if __name__ == "__main__":
    main()
