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

_SETTINGS = "tokenizer_config.json"
_COPIED = (_SETTINGS, "special_tokens_map.json")
# Only where they lie: tokenizer.json has all of it. They hold ids, so a vocabulary slice leaves them out
_COPIED_WHOLE = ("vocab.json", "merges.txt", "added_tokens.json")


def copy_text_files(sub: SubModel, folder: Path) -> None:
    """Write the tokenizer's files and config_sentence_transformers.json of a cut into `folder`."""
    source, text, kept = sub.checkpoint.folder, sub.text, sub.vocabulary
    for name in _COPIED if kept is not None else _COPIED + _COPIED_WHOLE:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if kept is not None and (folder / _SETTINGS).is_file():
        write_json(folder / _SETTINGS, _renumbered(read_json(folder / _SETTINGS), kept.new_ids()))
    if text.end_appended and kept is None:
        shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
    else:
        tokenizer = sub.tokenizer() if text.end_appended else append_end(sub.tokenizer(), text)
        (folder / TOKENIZER).write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n", encoding="utf-8")
    # Prompts left behind cost other projects a fifth of their retrieval quality
    stored = read_json(source / PROMPTS) if (source / PROMPTS).is_file() else {}
    settings = stored | {"prompts": dict(text.prompts)}
    write_json(folder / PROMPTS, settings)


def _renumbered(settings: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """tokenizer_config.json with its list of added tokens under their new ids."""
    listed = settings.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return dict(settings)
    kept = {str(new_ids[int(old)]): token for old, token in listed.items() if int(old) in new_ids}
    return {**settings, "added_tokens_decoder": kept}


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
