"""Node: ONNX Runtime's native build and Hugging Face's tokenizers in JavaScript."""

from __future__ import annotations

from mlexport.artifact import IDS
from mlexport.pack.platform import Kit, Platform
from mlexport.spec import Target

PLATFORM = Platform(
    name="node",
    kits=(
        Kit(
            target=Target.ONNX,
            takes=IDS,
            samples=("javascript", "node", "documents"),
            runtime={"@huggingface/tokenizers": "0.2.0", "onnxruntime-node": "1.30.0"},
            tokenizer=True,
            stored_output=True,
            next='npm install && node search.mjs "photo editor"',
        ),
    ),
)
