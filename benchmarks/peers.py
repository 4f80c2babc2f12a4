"""The same cut in every runtime, ours and others': latency, size, loss, and what the export itself takes.

    python benchmarks/peers.py --work FOLDER [--model MODEL] [--rounds 9] [--name real]

The peers' exporters need environments of their own, made under --work: optimum-onnx (transformers before 4.58) and
optimum-intel. Their files then run in the same ONNX Runtime and OpenVINO as ours. Every model has a process of its own
(turns.py), and every round runs each of them once, in turn, on the same text, so that a change of the machine's speed
meets all; medians are compared. sentence-transformers' dynamic int8 ONNX is optimum's avx512_vnni, made by the same
call, and its torch backend is transformers in float32.
Without --model: 8 layers, 128 dims, of ML-Embed-0.6B's shapes with random weights (real_shapes.py).
The result goes to benchmarks/results/peers_NAME.json with its environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import real_shapes
from environment import environment
from llama_sources import fetch
from measure import measure
from numpy.typing import NDArray
from tokenizers import Tokenizer
from turns import WARM_UP, Contestant, take_turns

from mlexport.search import DEFAULT_CORPUS, read_documents

RESULTS = Path(__file__).parent / "results"
LAYERS, DIM = 8, 128
OURS = (
    ("onnx", "f32"),
    ("onnx", "int8"),
    ("onnx", "int8_b32"),
    ("onnx", "int4"),
    ("openvino", "f32"),
    ("openvino", "f16"),
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


def models(place: Path) -> dict[str, tuple[str, Path]]:
    """Kind and file of each contestant; the first is the reference."""
    found = {"torch f32": ("torch", place / "cut")}
    for target, precision in OURS:
        folder = place / f"{target}-{precision}"
        manifest = json.loads((folder / "mlexport.json").read_text(encoding="utf-8"))
        found[f"{target} {precision}"] = (target, folder / manifest["variants"][0]["model_file"])
    found["optimum onnx f32"] = ("onnx", place / "optimum-f32" / "model.onnx")
    found["optimum onnx int8"] = ("onnx", place / "optimum-int8" / "model_quantized.onnx")
    found["optimum openvino int8"] = ("openvino", place / "intel-int8" / "openvino_model.xml")
    return found


def texts(folder: Path, shape: tuple[int, int], rounds: int) -> list[NDArray[np.int64]]:
    """Real text: documents of the built-in set one after the other, cut to [batch, tokens], the end token last."""
    end = json.loads((folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    documents = [document.content for document in read_documents(DEFAULT_CORPUS)]
    stream = np.array([one for text in documents for one in tokenizer.encode(text, add_special_tokens=False).ids])
    batch, tokens = shape
    rows = np.resize(stream, (rounds, batch, tokens)).astype(np.int64)
    rows[:, :, -1] = end
    return list(rows)


def planned_and_written(place: Path, model: str) -> dict[str, dict[str, float]]:
    """Rank 128 in int8: the tensors' bytes as a dry run plans them, and the bytes of the model's files."""
    found = {}
    for target in ("onnx", "openvino", "gguf"):
        folder = place / f"{target}-r128"
        ours = [sys.executable, "-m", "mlexport", "slice", "--model", model, "--layers", str(LAYERS), "--dim", str(DIM)]
        ours += ["--rank", "128", "--target", target, "--precision", "int8", "--out", str(folder), "--json", "--force"]
        done = [
            json.loads(subprocess.run([*ours, *more], check=True, capture_output=True).stdout)[0]["variants"][0]
            for more in (["--dry-run"], ["--verify", "off"])
        ]
        planned = done[0]["sizes"]["table_bytes"] + done[0]["sizes"]["body_bytes"]
        written = size(folder / done[1]["model_file"])
        found[target] = {"planned": planned, "written": written, "ratio": round(written / planned, 5)}
        print(f"rank 128, {target:9} planned {planned:,}, written {written:,} bytes", flush=True)
    return found


def size(file: Path) -> int:
    """Bytes of a model's file or pair of files; of a folder's weights."""
    file = file / "model.safetensors" if file.is_dir() else file
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
    parser.add_argument("--add", action="store_true", help="measure --shapes with the files there, and add them")
    args = parser.parse_args()
    model = args.model or str(args.work / "model")
    if args.model is None and not (args.work / "model" / "V.pth").exists():
        real_shapes.make(fetch(args.work / "llama.cpp"), args.work / "model")
    place = args.work / args.name
    out = RESULTS / f"peers_{args.name}.json"
    result = json.loads(out.read_text(encoding="utf-8")) if args.add else make(args.work, place, model)
    found, loads, peaks = compare(place, args.shapes, args.rounds)
    if args.add:
        result["latency"] |= found
    else:
        result |= {"load_ms": loads, "peak_resident_bytes": peaks, "latency": found}
    RESULTS.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def make(work: Path, place: Path, model: str) -> dict[str, Any]:
    """Every contestant's files, and what it took to write them."""
    place.mkdir(parents=True, exist_ok=True)
    where = environment(LIBRARIES)
    taken = {}
    for name, command in exports(work, place, model).items():
        seconds, peak = measure(command)
        taken[name] = {"seconds": round(seconds, 2), "peak_resident_bytes": peak}
        print(f"export {name:24} {seconds:7.1f} s {peak / 1e6:8.0f} MB", flush=True)
    what = "random weights in real shapes" if model == str(work / "model") else model
    return {
        "what": f"{LAYERS} layers, {DIM} dims, of {what}; batch x tokens",
        "export": taken,
        "rank_128_int8": planned_and_written(place, model),
        "bytes": {name: size(file) for name, (_, file) in models(place).items()},
        "environment": where,
    }


def compare(place: Path, shapes: Sequence[str], rounds: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Latencies by shape; load times and peak memory by contestant."""
    contestants = {name: Contestant(kind, file, DIM) for name, (kind, file) in models(place).items()}
    found = {}
    for shape in shapes:
        batch, tokens = map(int, shape.split("x"))
        rows = take_turns(contestants, texts(place / "cut", (batch, tokens), WARM_UP + rounds))
        found[shape] = rows
        for name, row in rows.items():
            print(f"{shape:9} {name:24} {row['median_ms']:9} ms  cosine {row['cosine']}", flush=True)
    loads = {name: one.load["load_ms"] for name, one in contestants.items()}
    return found, loads, {name: one.close() for name, one in contestants.items()}


if __name__ == "__main__":
    main()
