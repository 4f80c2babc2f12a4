"""The same cut in every runtime, ours and others': latency, size, loss, and what the export itself takes.

    python benchmarks/peers.py --work FOLDER [--model MODEL] [--rounds 9] [--name real]

The peers' exporters need environments of their own, made under --work: optimum-onnx (transformers before 4.58) and
optimum-intel. Their files then run in the same ONNX Runtime and OpenVINO as ours. All models are loaded in one process
and every round runs each of them once, in turn, so that a change of the machine's speed meets all; medians are
compared. Without --model: 8 layers, 128 dims, of ML-Embed-0.6B's shapes with random weights (real_shapes.py).
The result goes to benchmarks/results/peers_NAME.json with its environment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import peer_models
import real_shapes
from environment import environment
from llama_sources import fetch
from measure import measure

RESULTS = Path(__file__).parent / "results"
LAYERS, DIM = 8, 128
OURS = (
    ("onnx", "f32"),
    ("onnx", "int8"),
    ("onnx", "int8_b32"),
    ("onnx", "int4"),
    ("openvino", "f32"),
    ("openvino", "int8"),
    ("openvino", "int4"),
    ("gguf", "q8_0"),
)
ENVIRONMENTS = {
    "optimum": ("optimum-onnx[onnxruntime]==0.1.0", "transformers==4.57.6", "torch==2.13.0"),
    "intel": ("optimum-intel[openvino,nncf]==2.2.*", "torch==2.13.0"),
}
LIBRARIES = ("mlexport", "onnxruntime", "openvino", "llama-cpp-python", "torch", "transformers", "numpy")


def cli(work: Path, name: str) -> str:
    """optimum-cli of an environment, which is made where it is missing."""
    folder = work / "envs" / name
    if not (folder / "bin" / "optimum-cli").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip")]
        subprocess.run([*pip, "install", "--quiet", *ENVIRONMENTS[name]], check=True)
        # optimum-intel asks for it, needs it not, and its CUDA build does not go with a CPU build of torch
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", "torchvision"], check=True)
    return str(folder / "bin" / "optimum-cli")


def exports(work: Path, place: Path, model: str) -> dict[str, list[str]]:
    """The command of each export into `place`, in order; the peers start from our `hf` cut."""
    ours = [sys.executable, "-m", "mlexport", "slice", "--model", model, "--layers", str(LAYERS), "--dim", str(DIM)]
    ours += ["--verify", "off", "--force"]
    cut, optimum, intel = str(place / "cut"), cli(work, "optimum"), cli(work, "intel")
    commands = {"hf": [*ours, "--target", "hf", "--precision", "bf16", "--out", cut]}
    for target, precision in OURS:
        options = ["--target", target, "--precision", precision, "--out", str(place / f"{target}-{precision}")]
        commands[f"{target} {precision}"] = [*ours, *options]
    task = ["--task", "feature-extraction", "--library", "transformers"]
    commands["optimum onnx f32"] = [optimum, "export", "onnx", "--model", cut, *task, str(place / "optimum-f32")]
    quantise = [optimum, "onnxruntime", "quantize", "--onnx_model", str(place / "optimum-f32"), "--avx512_vnni"]
    commands["optimum onnx int8"] = [*quantise, "-o", str(place / "optimum-int8")]
    vino = [intel, "export", "openvino", "--model", cut, *task, "--weight-format"]
    commands["optimum openvino int8"] = [*vino, "int8", str(place / "intel-int8")]
    return commands


def models(place: Path) -> dict[str, tuple[Path, peer_models.Run]]:
    """File and embedder of each contestant; the first is the reference."""
    found: dict[str, tuple[Path, peer_models.Run]] = {}
    cut = place / "cut"
    found["torch f32"] = (cut / "model.safetensors", peer_models.torch_f32(cut, DIM))
    loaders = {"onnx": peer_models.onnx, "openvino": peer_models.openvino, "gguf": peer_models.llama}
    for target, precision in OURS:
        folder = place / f"{target}-{precision}"
        file = folder / json.loads((folder / "mlexport.json").read_text(encoding="utf-8"))["variants"][0]["model_file"]
        found[f"{target} {precision}"] = (file, loaders[target](file, DIM))
    file = place / "optimum-f32" / "model.onnx"
    found["optimum onnx f32"] = (file, peer_models.onnx(file, DIM))
    file = place / "optimum-int8" / "model_quantized.onnx"
    found["optimum onnx int8"] = (file, peer_models.onnx(file, DIM))
    file = place / "intel-int8" / "openvino_model.xml"
    found["optimum openvino int8"] = (file, peer_models.openvino(file, DIM))
    return found


def latencies(
    contestants: Mapping[str, tuple[Path, peer_models.Run]], shape: tuple[int, int], rounds: int
) -> dict[str, dict[str, object]]:
    """Milliseconds and cosine to the first contestant; ids are random."""
    ids = np.random.default_rng(shape[1]).integers(0, 16_000, shape)
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    vectors = {}
    for number in range(rounds + 2):
        for name, (_, run) in contestants.items():
            start = time.perf_counter()
            vectors[name] = run(ids)
            # Two rounds to warm up
            if number > 1:
                samples[name].append((time.perf_counter() - start) * 1e3)
    first = next(iter(vectors.values()))
    return {
        name: {
            "median_ms": round(statistics.median(found), 2),
            "p90_ms": round(float(np.percentile(found, 90)), 2),
            "cosine": round(float((vectors[name] * first).sum(axis=1).mean()), 6),
            "samples_ms": [round(value, 2) for value in found],
        }
        for name, found in samples.items()
    }


def size(file: Path) -> int:
    """Bytes of a model's file or pair of files."""
    return sum(
        path.stat().st_size for path in file.parent.glob(f"{file.stem}*") if path.suffix in (file.suffix, ".bin")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="about 15 GB are written there, and kept")
    parser.add_argument("--model", help="a checkpoint; by default random weights in real shapes")
    parser.add_argument("--name", default="real")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--shapes", nargs="+", metavar="BATCHxTOKENS", default=["1x16", "1x128", "1x512", "8x16", "8x128"]
    )
    args = parser.parse_args()
    model = args.model or str(args.work / "model")
    if args.model is None and not (args.work / "model" / "V.pth").exists():
        real_shapes.make(fetch(args.work / "llama.cpp"), args.work / "model")
    place = args.work / args.name
    place.mkdir(parents=True, exist_ok=True)
    where = environment(LIBRARIES)
    taken = {}
    for name, command in exports(args.work, place, model).items():
        seconds, peak = measure(command)
        taken[name] = {"seconds": round(seconds, 2), "peak_resident_bytes": peak}
        print(f"export {name:24} {seconds:7.1f} s {peak / 1e6:8.0f} MB", flush=True)
    contestants = models(place)
    found = {}
    for shape in args.shapes:
        batch, tokens = map(int, shape.split("x"))
        found[shape] = rows = latencies(contestants, (batch, tokens), args.rounds)
        for name, row in rows.items():
            print(f"{shape:9} {name:24} {row['median_ms']:9} ms  cosine {row['cosine']}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "what": f"{LAYERS} layers, {DIM} dims, of {args.model or 'random weights in real shapes'}; batch x tokens",
        "export": taken,
        "bytes": {name: size(file) for name, (file, _) in contestants.items()},
        "latency": found,
        "environment": where,
    }
    (RESULTS / f"peers_{args.name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
