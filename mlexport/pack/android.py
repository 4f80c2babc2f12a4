"""Android: ONNX Runtime with the tokenizer inside the model, or llama.cpp behind a few lines of C++."""

from __future__ import annotations

from mlexport.artifact import IDS, TEXT, Variant
from mlexport.pack.manifest import ModelFacts
from mlexport.pack.platform import Kit, Platform, text_notes
from mlexport.spec import Target

# An APK's assets are read into memory, and its entries end at 2 GiB
LARGEST_MODEL = 2**31 - 2**24
# Google Play's limit of what is downloaded at install
_PLAY_BYTES = 200 * 10**6


def notes(facts: ModelFacts, variant: Variant) -> tuple[str, ...]:
    """Google Play's limit, and an operator that the published extensions lack."""
    found = text_notes(facts, variant)
    if facts.bytes <= _PLAY_BYTES:
        return found
    return (
        *found,
        f"{facts.bytes:,} bytes are over Google Play's 200 MB for an app's base module: deliver the model as an asset "
        "pack, or download it at the first start",
    )


PLATFORM = Platform(
    name="android",
    kits=(
        Kit(
            target=Target.ONNX,
            takes=TEXT,
            samples=("android", "android-onnx"),
            runtime={
                "com.microsoft.onnxruntime:onnxruntime-android": "1.27.0",
                "com.microsoft.onnxruntime:onnxruntime-extensions-android": "0.13.0",
            },
            tokenizer=False,
            stored_output=True,
            next="README.md says how the folder becomes a module of an app",
        ),
        Kit(
            target=Target.GGUF,
            takes=IDS,
            samples=("android", "android-gguf"),
            runtime={"llama.cpp": "b6901"},
            tokenizer=False,
            stored_output=False,
            next="README.md says how the folder becomes a module of an app",
        ),
    ),
    largest_model=LARGEST_MODEL,
    notes=notes,
)
