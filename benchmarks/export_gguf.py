"""`mlexport slice` against llama.cpp's own converter: seconds and peak memory, measured in turn.

    python benchmarks/export_gguf.py --work FOLDER [--rounds 7]

Both write one q8_0 GGUF of the first 8 layers of a checkpoint with ML-Embed-0.6B's shapes (real_shapes.py):
`mlexport slice --layers 8 --dim 128 --verify off` from the whole checkpoint, convert_hf_to_gguf.py from a folder that
is already cut. Every run is a process of its own; the two take turns, and medians are compared. The result goes to
benchmarks/results/export_gguf.json with its environment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import real_shapes
from environment import environment
from gguf import GGUFReader
from llama_sources import fetch
from measure import measure

RESULT = Path(__file__).parent / "results" / "export_gguf.json"
LAYERS, DIM = 8, 128
LIBRARIES = ("mlexport", "numpy", "gguf", "llama-cpp-python", "torch", "transformers")


def prepare(work: Path) -> dict[str, list[str]]:
    """The checkpoint, the cut folder, and the two commands; {out} stands for the output."""
    sources, model, cut = fetch(work / "llama.cpp"), work / "model", work / "cut"
    if not (model / "V.pth").exists():
        real_shapes.make(sources, model)
    slicing = [sys.executable, "-m", "mlexport", "slice", "--model", str(model), "--layers", str(LAYERS)]
    slicing += ["--dim", str(DIM), "--verify", "off", "--force"]
    if not cut.exists():
        subprocess.run([*slicing, "--target", "hf", "--precision", "bf16", "--out", str(cut)], check=True)
        # The converter knows tokenizers by a hash of ids: it gets the original, which appends nothing
        shutil.copyfile(model / "tokenizer.json", cut / "tokenizer.json")
    converter = [sys.executable, str(sources / "convert_hf_to_gguf.py"), str(cut), "--outtype", "q8_0"]
    return {
        "mlexport": [*slicing, "--target", "gguf", "--out", str(work / "ours")],
        "convert_hf_to_gguf": [*converter, "--outfile", str(work / "theirs.gguf")],
    }


def same_tensors(work: Path) -> bool:
    """Whether the two files hold the same tensors, bit for bit."""
    [ours] = (work / "ours").glob("*.gguf")
    found, expected = ({t.name: t for t in GGUFReader(path).tensors} for path in (ours, work / "theirs.gguf"))
    return found.keys() == expected.keys() and all(
        tensor.tensor_type == expected[name].tensor_type and np.array_equal(tensor.data, expected[name].data)
        for name, tensor in found.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="about 3 GB are written there, and kept")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    commands = prepare(args.work)
    where = environment(LIBRARIES)
    samples: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
    for number in range(args.rounds + 1):
        for name, command in commands.items():
            found = measure(command)
            # The first round fills the page cache
            if number:
                samples[name].append(found)
                print(f"{name:20} {found[0]:6.2f} s  {found[1] / 1e6:7.0f} MB", flush=True)
    seconds = {name: statistics.median(s for s, _ in found) for name, found in samples.items()}
    result = {
        "what": f"write a q8_0 GGUF of {LAYERS} layers, ML-Embed-0.6B's shapes, random weights; verification aside",
        "median_seconds": seconds,
        "ratio": seconds["mlexport"] / seconds["convert_hf_to_gguf"],
        "peak_resident_bytes": {name: max(peak for _, peak in found) for name, found in samples.items()},
        "same_tensors": same_tensors(args.work),
        "seconds": {name: [round(s, 3) for s, _ in found] for name, found in samples.items()},
        "environment": where,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"ratio {result['ratio']:.2f}; {RESULT}")


if __name__ == "__main__":
    main()
