"""Python without mlexport and torch: ONNX Runtime, OpenVINO or llama.cpp."""

from __future__ import annotations

from mlexport.artifact import IDS
from mlexport.pack.platform import Kit, Platform
from mlexport.spec import Target

_NEXT = 'pip install -r requirements.txt && python search.py "photo editor"'
_TOKENIZERS = {"numpy": ">=2", "tokenizers": ">=0.22"}

PLATFORM = Platform(
    name="python",
    kits=(
        Kit(
            target=Target.ONNX,
            takes=IDS,
            samples=("python", "python-ids", "python-onnx", "documents"),
            runtime=_TOKENIZERS | {"onnxruntime": ">=1.23"},
            tokenizer=True,
            stored_output=True,
            next=_NEXT,
        ),
        Kit(
            target=Target.OPENVINO,
            takes=IDS,
            samples=("python", "python-ids", "python-openvino", "documents"),
            runtime=_TOKENIZERS | {"openvino": ">=2025.3"},
            tokenizer=True,
            stored_output=True,
            next=_NEXT,
        ),
        Kit(
            target=Target.GGUF,
            takes=IDS,
            samples=("python", "python-gguf", "documents"),
            runtime={"numpy": ">=2", "llama-cpp-python": ">=0.3.16"},
            tokenizer=False,
            stored_output=False,
            next=_NEXT,
        ),
    ),
)
