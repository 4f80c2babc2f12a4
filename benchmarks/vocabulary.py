"""What a vocabulary slice takes and saves at 151,936 tokens: writing it, its file, and llama.cpp's time and memory.

    python benchmarks/vocabulary.py --work FOLDER [--rounds 5]

GGUF q8_0 of the first 8 layers of a checkpoint with ML-Embed-0.6B's shapes (real_shapes.py), with every token and with
fewer. Every command is a process of its own and all take turns. llama.cpp embeds texts of 128 and 512 tokens that
every one of the vocabularies splits alike. The result goes to benchmarks/results/vocabulary.json with its environment.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import real_shapes
from environment import environment
from llama_sources import fetch
from measure import measure

import mlexport

RESULT = Path(__file__).parent / "results" / "vocabulary.json"
CUTS = {
    "whole": (),
    "32000": ("--vocab", "32000"),
    "8000": ("--vocab", "8000"),
    "scripts": ("--vocab", "scripts:Latn,Cyrl"),
}
LENGTHS = (128, 512)
REPEATS = 5
LIBRARIES = ("mlexport", "numpy", "llama-cpp-python", "tokenizers", "regex")


def embed(folder: Path) -> None:
    """Print median milliseconds by length, and the peak resident bytes, of one artifact in this process."""
    found: dict[str, float] = {}
    with mlexport.open_artifact(folder) as model:
        for tokens in LENGTHS:
            # One token a word, and the end token
            text = "the" + " the" * (tokens - 2)
            model.embed([text])
            samples = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                model.embed([text])
                samples.append(time.perf_counter() - start)
            found[f"ms_{tokens}"] = 1e3 * statistics.median(samples)
    found["peak_resident_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(found))


def slice_command(model: Path, out: Path, cut: tuple[str, ...]) -> list[str]:
    """Without the verification, which would measure transformers."""
    command = [sys.executable, "-m", "mlexport", "slice", "--model", str(model), "--layers", "8", "--dim", "128"]
    return [*command, "--target", "gguf", "--verify", "off", "--force", "--out", str(out), *cut]


def run(work: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of each cut, all in turn."""
    model = work / "model"
    if not (model / "V.pth").exists():
        real_shapes.make(fetch(work / "llama.cpp"), model)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in CUTS}
    for number in range(rounds + 1):
        for name, cut in CUTS.items():
            out = work / name
            seconds, peak = measure(slice_command(model, out, cut))
            command = [sys.executable, __file__, "--embed", str(out)]
            answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            found = {"slice_seconds": seconds, "slice_peak_bytes": peak, **json.loads(answer)}
            # The first round fills the page cache
            if number:
                samples[name].append(found)
                print(name, {key: round(value, 1) for key, value in found.items()}, flush=True)
    results = {}
    for name, rows in samples.items():
        [path] = (work / name).glob("*.gguf")
        vocabulary = mlexport.read_artifact(work / name).manifest.vocabulary
        results[name] = {
            "tokens": 151936 if vocabulary is None else vocabulary.tokens,
            "file_bytes": path.stat().st_size,
            **{key: statistics.median(row[key] for row in rows) for key in rows[0]},
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="about 3 GB are written there, and kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--embed", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.embed is not None:
        embed(args.embed)
        return
    if args.work is None:
        parser.error("--work FOLDER is needed")
    args.work.mkdir(parents=True, exist_ok=True)
    where = environment(LIBRARIES)
    results = run(args.work, args.rounds)
    what = "GGUF q8_0 of 8 layers, ML-Embed-0.6B's shapes, random weights: medians, all in turn"
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"what": what, "cuts": results, "environment": where}, indent=1) + "\n", "utf-8")
    print(RESULT)


if __name__ == "__main__":
    main()
