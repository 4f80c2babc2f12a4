"""iOS: ONNX Runtime with the tokenizer inside the model, or llama.cpp's XCFramework."""

from __future__ import annotations

from mlexport.artifact import IDS, TEXT
from mlexport.pack.platform import Kit, Platform, text_notes
from mlexport.spec import Target

_NEXT = "add the folder to an app in Xcode as a local package (README.md)"

PLATFORM = Platform(
    name="ios",
    kits=(
        Kit(
            target=Target.ONNX,
            takes=TEXT,
            samples=("ios", "ios-onnx"),
            runtime={"microsoft/onnxruntime-swift-package-manager": "1.24.2"},
            tokenizer=False,
            stored_output=True,
            next=_NEXT,
        ),
        Kit(
            target=Target.GGUF,
            takes=IDS,
            samples=("ios", "ios-gguf"),
            runtime={"llama.cpp": "b6901"},
            tokenizer=False,
            stored_output=False,
            next=_NEXT,
        ),
    ),
    notes=text_notes,
)
