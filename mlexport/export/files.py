"""The text side of an artifact: tokenizer files and prompts, with EOS appended where the checkpoint leaves that out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlexport.model import SubModel, TextFacts
from mlexport.textfacts import PROMPTS, TOKENIZER
from mlexport.weights import read_json

# vocab.json and merges.txt only where they lie: tokenizer.json has both
_COPIED = ("tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt", "added_tokens.json")


def copy_text_files(sub: SubModel, folder: Path) -> None:
    """Write the tokenizer's files and config_sentence_transformers.json of a cut's checkpoint into `folder`."""
    source, text = sub.checkpoint.folder, sub.checkpoint.text
    for name in _COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if text.end_appended:
        shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
    else:
        tokenizer = append_end(read_json(source / TOKENIZER), text)
        (folder / TOKENIZER).write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n", encoding="utf-8")
    # Prompts left behind cost other projects a fifth of their retrieval quality
    stored = read_json(source / PROMPTS) if (source / PROMPTS).is_file() else {}
    settings = stored | {"prompts": dict(text.prompts)}
    write_json(folder / PROMPTS, settings)


def write_json(path: Path, content: Mapping[str, object] | Sequence[object]) -> None:
    """A small file that people read too."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def append_end(tokenizer: dict[str, Any], text: TextFacts) -> dict[str, Any]:
    """tokenizer.json with a template that puts the end token after each text, after what it does already."""
    end = {"SpecialToken": {"id": text.end_token, "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, end],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, end, {"Sequence": {"id": "B", "type_id": 1}}, end],
        "special_tokens": {text.end_token: {"id": text.end_token, "ids": [text.end_id], "tokens": [text.end_token]}},
    }
    before = tokenizer.get("post_processor")
    joined = template if before is None else {"type": "Sequence", "processors": [before, template]}
    return tokenizer | {"post_processor": joined}
