"""One cut as an ONNX artifact in other projects' clients, against the same cut as a folder of safetensors.

Prints the table of docs/clients.md. sentence-transformers' ONNX backend stands on optimum-onnx, which wants a
transformers before 5, its OpenVINO backend on optimum-intel: each gets an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
from tokenizers import Tokenizer

import mlexport
from mlexport.probes import PROBES, over_long

ROOT = Path(__file__).parents[1]
CUT = {"layers": 4, "dim": 64}
# The demo's limit in tokens
LIMIT = 512
OPTIMUM = ("optimum-onnx[onnxruntime]==0.1.0", "sentence-transformers==5.7.0", "transformers==4.57.6", "torch==2.13.0")
OPTIMUM_INTEL = ("optimum-intel[openvino]==2.2.*", "sentence-transformers==5.7.0", "torch==2.13.0")
# precision -> file under onnx/, dtype of transformers.js
FILES = {
    "f32": ("model.onnx", "fp32"),
    "f16": ("model_fp16.onnx", "fp16"),
    "int8": ("model_quantized.onnx", "q8"),
    "int4": ("model_q4.onnx", "q4"),
}
OPENVINO_FILE = "openvino_model.xml"
LOWEST = {"f32": 0.99999, "f16": 0.9999, "int8": 0.9, "int4": 0.75}


def main() -> None:
    """Make the artifacts, run each client, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv" / "clients", help="where they are made")
    environments = parser.parse_args().environments
    texts = [probe.text for probe in PROBES] + [over_long(LIMIT).text]
    with tempfile.TemporaryDirectory() as work:
        # One folder with every precision, as clients find them in a repository
        folders = dict.fromkeys(FILES, Path(work) / "onnx")
        write("onnx", tuple(FILES), Path(work) / "onnx")
        write("hf", ("f32",), Path(work) / "hf")
        expected = reference(Path(work) / "hf", texts)
        print("| client | file | lowest cosine of texts | lowest cosine of queries |\n|---|---|---|---|")
        for precision, folder in folders.items():
            show(precision, FILES[precision][0], [alone(folder, f"onnx/{FILES[precision][0]}", texts)], expected)
        python = environment(environments / "optimum", OPTIMUM)
        for precision, folder in folders.items():
            show(precision, FILES[precision][0], in_python(python, folder, FILES[precision][0], texts), expected)
        for precision, folder in folders.items():
            show(precision, FILES[precision][0], in_node(folder, FILES[precision][1], texts), expected)
        python = environment(environments / "intel", OPTIMUM_INTEL)
        for precision in FILES:
            folder = Path(work) / f"openvino-{precision}"
            write("openvino", (precision,), folder)
            file = f"openvino/{OPENVINO_FILE}"
            show(precision, f"{OPENVINO_FILE} ({precision})", [alone(folder, file, texts)], expected)
            script = Path(__file__).with_name("clients_openvino.py")
            answers = ask([str(python), str(script), str(folder)], texts)
            show(precision, f"{OPENVINO_FILE} ({precision})", answers, expected)
    print(f"\nReference: sentence-transformers {version('sentence-transformers')},", end=" ")
    print(f"transformers {version('transformers')}, the hf artifact of the same cut. {len(texts)} texts.")


def write(target: str, precisions: tuple[str, ...], out: Path) -> None:
    """The cut as an artifact."""
    request = mlexport.SliceRequest(**CUT, targets=(target,), precisions=precisions, out=out)
    mlexport.slice_model(request, verify="off")


def reference(folder: Path, texts: list[str]) -> dict[str, Any]:
    """Vectors of the texts as they are, and as queries."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    model = SentenceTransformer(str(folder), device="cpu")
    return {"texts": model.encode(texts), "queries": model.encode(texts, prompt_name="query")}


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """Its Python; made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        # optimum-intel asks for it and works without; its CUDA build does not go with a CPU build of torch
        subprocess.run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"], check=True)
    return python


def alone(folder: Path, file: str, texts: list[str]) -> dict[str, Any]:
    """The runtime and `tokenizers`, and nothing of ours: what an application writes itself."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LIMIT)
    tokenizer.enable_padding()
    if file.endswith(".onnx"):
        name = f"onnxruntime {version('onnxruntime')} alone"
        session = onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
    else:
        name = f"openvino {version('openvino')} alone"
        compiled = openvino.Core().compile_model(folder / file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def embed(batch: list[str]) -> list[list[float]]:
        rows = tokenizer.encode_batch(batch)
        feed = {
            "input_ids": np.array([row.ids for row in rows]),
            "attention_mask": np.array([row.attention_mask for row in rows]),
        }
        if file.endswith(".onnx"):
            return session.run(["sentence_embedding"], feed)[0].tolist()
        return compiled(feed)["sentence_embedding"].tolist()

    prompt = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]["query"]
    return {"client": name, "texts": embed(texts), "queries": embed([prompt + text for text in texts])}


def in_python(python: Path, folder: Path, file: str, texts: list[str]) -> list[dict[str, Any]]:
    """Answers of sentence-transformers' ONNX backend and of optimum."""
    return ask([str(python), str(Path(__file__).with_name("clients_optimum.py")), str(folder), file], texts)


def in_node(folder: Path, dtype: str, texts: list[str]) -> list[dict[str, Any]]:
    """The answer of transformers.js, which has no word for prompts: the application puts them in front."""
    settings = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    script = ROOT / "tests" / "clients" / "embed.mjs"
    command = ["node", str(script), str(ROOT / ".venv" / "node"), str(folder), dtype]
    found = ask(command, [*texts, *(settings["prompts"]["query"] + text for text in texts)])
    middle = len(texts)
    vectors = {"texts": found["vectors"][:middle], "queries": found["vectors"][middle:]}
    return [{"client": f"transformers.js {found['version']}, dtype {dtype}", **vectors}]


def ask(command: list[str], texts: list[str]) -> Any:
    """The JSON that a client prints for texts on its standard input."""
    done = subprocess.run(command, input=json.dumps(texts), stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return json.loads(done.stdout)


def show(precision: str, file: str, answers: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    """A row for each answer; stops at one below its precision's limit."""
    for answer in answers:
        lowest = [float((np.array(answer[kind]) * expected[kind]).sum(axis=1).min()) for kind in ("texts", "queries")]
        print(f"| {answer['client']} | {file} | {lowest[0]:.6f} | {lowest[1]:.6f} |", flush=True)
        if min(lowest) < LOWEST[precision]:
            sys.exit(f"below {LOWEST[precision]}")


if __name__ == "__main__":
    main()
