"""How near a model comes to the bare matrix products: their time alone, in the same runtime, over the model's.

    python benchmarks/limit.py --work FOLDER [--rounds 9]

For each precision two ONNX files are written from the first 8 layers, 128 dims, of a checkpoint with ML-Embed-0.6B's
shapes (real_shapes.py): the model, and a graph that has the same products on the same weights, attention's two among
them, and nothing else. They
run in turn in ONNX Runtime, batch 1; the medians are divided. A share of 1 cannot be beaten without faster products.
The result goes to benchmarks/results/limit.json with its environment.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import real_shapes
from environment import environment
from llama_sources import fetch
from onnx_variants import MEASURED, SPEC, write
from turns import WARM_UP, Contestant, take_turns

from mlexport.checkpoint import open_checkpoint
from mlexport.export.onnx.builder import Builder, Value
from mlexport.export.onnx.graph import Options
from mlexport.export.onnx.matmul import int8_weight
from mlexport.export.onnx.matmul import products as model_products
from mlexport.export.onnx.stream import write_model
from mlexport.model import SubModel
from mlexport.slicing import cut
from mlexport.tensors import LazyTensor

RESULT = Path(__file__).parent / "results" / "limit.json"
LENGTHS = (128, 512)
# Matrices that read the same input, by part of a layer
QUERY, KEY_VALUE, OUT = ("q_proj",), ("k_proj", "v_proj"), ("o_proj",)
GATE_UP, DOWN = ("gate_proj", "up_proj"), ("down_proj",)


def attention_products(b: Builder, sub: SubModel, inputs: dict[str, Value], queries: str) -> list[Value]:
    """q · kᵀ and weights · v of one layer, of random inputs with all heads; `queries` is "tokens" or "one"."""
    c, kind = sub.config, ir.DataType.FLOAT
    shapes = {
        f"{queries}_q": [c.heads, queries, c.head_dim],
        "tokens_k": [c.heads, c.head_dim, "tokens"],
        f"{queries}_w": [c.heads, queries, "tokens"],
        "tokens_v": [c.heads, "tokens", c.head_dim],
    }
    for name, shape in shapes.items():
        inputs.setdefault(name, ir.val(name, kind, shape))
    q, k, w, v = (inputs[name] for name in shapes)
    return [b.op("MatMul", q, k), b.op("MatMul", w, v)]


def bare_int8(b: Builder, x: Value, tensors: Sequence[LazyTensor]) -> list[Value]:
    """The integer products without what makes each row's scale its own."""
    values, scale, zero = b.ops("DynamicQuantizeLinear", x, outputs=3)
    found = []
    for tensor in tensors:
        weight, weight_scale = int8_weight(b, [tensor], tensor.name)
        product = b.op("Cast", b.op("MatMulInteger", values, weight, zero), to=ir.DataType.FLOAT.value)
        found.append(b.op("Mul", product, b.op("Mul", scale, weight_scale)))
    return found


def products(sub: SubModel, scheme: str) -> tuple[ir.Model, Builder]:
    """Every product of the model, of random inputs: [tokens, width], or [1, width] where only the last token counts."""
    b = Builder()
    inputs: dict[str, Value] = {}
    outputs: list[Value] = []

    def add(layer: int, part: str, matrices: tuple[str, ...], *, last: bool) -> None:
        names = [f"layers.{layer}.{part}.{matrix}.weight" for matrix in matrices]
        tensors = [sub.tensors[name] for name in names]
        width = tensors[0].shape[1]
        name = f"{'one' if last else 'tokens'}_{width}"
        if name not in inputs:
            inputs[name] = ir.val(name, ir.DataType.FLOAT, ["one" if last else "tokens", width])
        if scheme == "int8":
            outputs.extend(bare_int8(b, inputs[name], tensors))
        else:
            outputs.extend(model_products(b, inputs[name], [(tensor, scheme) for tensor in tensors]))

    for layer in range(sub.spec.layers):
        last = layer == sub.spec.layers - 1
        if last:
            add(layer, "self_attn", KEY_VALUE, last=False)
            add(layer, "self_attn", QUERY, last=True)
        else:
            add(layer, "self_attn", QUERY + KEY_VALUE, last=False)
        add(layer, "self_attn", OUT, last=last)
        add(layer, "mlp", GATE_UP, last=last)
        add(layer, "mlp", DOWN, last=last)
        outputs += attention_products(b, sub, inputs, "one" if last else "tokens")
    for output in outputs:
        output.dtype = ir.DataType.FLOAT
    return b.model(list(inputs.values()), outputs, {}), b


def compare(model: Path, bare: Path, length: int, rounds: int) -> dict[str, object]:
    """Median milliseconds of both, each in a process of its own, and the share."""
    pair = {"model": Contestant("onnx", model, SPEC.dim), "products": Contestant("products", bare, SPEC.dim)}
    texts = np.random.default_rng(length).integers(0, 150_000, (WARM_UP + rounds, 1, length))
    found = take_turns(pair, list(texts))
    for one in pair.values():
        one.close()
    share = found["products"]["median_ms"] / found["model"]["median_ms"]
    kept = ("median_ms", "samples_ms")
    return {"share": round(share, 3), **{name: {key: row[key] for key in kept} for name, row in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="about 3 GB are written there, and kept")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    model = args.work / "model"
    if not (model / "V.pth").exists():
        real_shapes.make(fetch(args.work / "llama.cpp"), model)
    sub = cut(open_checkpoint(str(model)), SPEC)
    where = environment(("mlexport", "onnxruntime", "numpy"))
    place = args.work / "limit"
    place.mkdir(exist_ok=True)
    found: dict[str, object] = {}
    for precision in MEASURED:
        write(sub, precision, Options(), place / f"{precision}.onnx")
        graph, builder = products(sub, precision)
        write_model(graph, builder.weights, place / f"{precision}-products.onnx", lambda _: None)
        pair = place / f"{precision}.onnx", place / f"{precision}-products.onnx"
        for length in LENGTHS:
            found[f"{precision} {length}"] = row = compare(*pair, length, args.rounds)
            bare, whole = (row[name]["median_ms"] for name in ("products", "model"))
            print(
                f"{precision:9} {length:4} tokens  products {bare:8} ms of {whole:8} ms: {row['share']:.0%}", flush=True
            )
    result = {"what": f"bare products / model, ONNX Runtime, batch 1, {SPEC.name}, ML-Embed-0.6B's shapes"}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result | {"found": found, "environment": where}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
