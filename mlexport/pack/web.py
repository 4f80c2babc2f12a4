"""Browsers: ONNX Runtime's WebAssembly build and Hugging Face's tokenizers in JavaScript."""

from __future__ import annotations

from math import prod

from mlexport.artifact import IDS, Variant
from mlexport.pack.manifest import ModelFacts
from mlexport.pack.platform import Kit, Platform
from mlexport.spec import Target

# https://www.w3.org/TR/webgpu/#limits: maxBufferSize that every device has
WEBGPU_BUFFER = 256 * 2**20
# WebAssembly's memory ends at 4 GiB, and a model lies in it twice while it is loaded
LARGEST_MODEL = 2**31 - 2**24
RUNTIME = {"@huggingface/tokenizers": "0.2.0", "onnxruntime-web": "1.30.0"}


def notes(facts: ModelFacts, variant: Variant) -> tuple[str, ...]:
    """WebGPU's limit of one buffer, and what half precision costs in WebAssembly."""
    largest = max(variant.plan, key=lambda row: row.bytes)
    found = []
    if largest.bytes > WEBGPU_BUFFER:
        found.append(
            f"{largest.name} {list(largest.shape)} takes {largest.bytes:,} bytes ({prod(largest.shape):,} numbers), "
            f"over WebGPU's {WEBGPU_BUFFER:,} for one buffer: it runs in WebAssembly, as the sample does"
        )
    if facts.precision == "f16":
        found.append("f16 halves the download alone: WebAssembly computes it in f32")
    return tuple(found)


PLATFORM = Platform(
    name="web",
    kits=(
        Kit(
            target=Target.ONNX,
            takes=IDS,
            samples=("javascript", "web", "documents"),
            runtime=RUNTIME,
            tokenizer=True,
            stored_output=True,
            next="npm install --omit=dev && node serve.mjs",
            next_carried="node serve.mjs",
        ),
    ),
    runtime_files={
        "@huggingface/tokenizers": ("package.json", "LICENSE", "dist/tokenizers.min.mjs"),
        "onnxruntime-web": (
            "package.json",
            "README.md",
            "dist/ort.wasm.min.mjs",
            "dist/ort-wasm-simd-threaded.mjs",
            "dist/ort-wasm-simd-threaded.wasm",
        ),
    },
    largest_model=LARGEST_MODEL,
    notes=notes,
)
