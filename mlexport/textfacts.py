"""How text becomes token ids: read from a checkpoint's tokenizer files, never assumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlexport.errors import CheckpointError
from mlexport.model import TextFacts
from mlexport.weights import read_json

TOKENIZER = "tokenizer.json"
PROMPTS = "config_sentence_transformers.json"
# ML-Embed-0.6B's file holds the task alone, its model card puts it into this frame (and trained with it)
CARD_TASK = "Given a question, retrieve passages that can help answer the question."
CARD_QUERY = f"Instruct: {CARD_TASK}\nQuery: "
# Prompt name that keeps what the file says where the card's prompt is used instead
AS_STORED = "query_as_stored"


def read_text_facts(folder: Path, config: Mapping[str, Any], vocabulary: int) -> TextFacts:
    """The facts of a folder's tokenizer.json, tokenizer_config.json and sentence-transformers files.

    Args:
        config: config.json.
        vocabulary: rows of the token table.

    Raises:
        CheckpointError: a file is missing or damaged, or names a token that the table does not have.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415

    path = folder / TOKENIZER
    read_json(path)
    try:
        # from_file raises a bare Exception, from_buffer a ValueError
        tokenizer = Tokenizer.from_buffer(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is no tokenizer: {' '.join(str(error).split())}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    settings = _optional(folder / "tokenizer_config.json")
    plain, special = (tokenizer.encode("a", add_special_tokens=flag).ids for flag in (False, True))
    if special[: len(plain)] != plain or len(special) > len(plain) + 1:
        raise CheckpointError(f"{path} puts tokens before a text, or several after it: last-token pooling knows one")
    appended = len(special) > len(plain)
    end_token = tokenizer.id_to_token(special[-1]) if appended else _name(settings.get("eos_token"))
    end_id = tokenizer.token_to_id(end_token) if end_token else config.get("eos_token_id")
    if not isinstance(end_id, int) or not 0 <= end_id < vocabulary:
        raise CheckpointError(f"{folder} names no end token within its table of {vocabulary} rows (eos_token)")
    if tokenizer.get_vocab_size() > vocabulary:
        raise CheckpointError(f"{path} has {tokenizer.get_vocab_size()} tokens, the table only {vocabulary} rows")
    pad_token = _name(settings.get("pad_token"))
    pad_id = tokenizer.token_to_id(pad_token) if pad_token else None
    return TextFacts(
        end_id=end_id,
        end_token=end_token or str(tokenizer.id_to_token(end_id)),
        end_appended=appended,
        pad_id=end_id if pad_id is None else pad_id,
        max_length=_max_length(folder, settings, config),
        prompts=_prompts(folder / PROMPTS),
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _name(token: object) -> str | None:
    """A token of tokenizer_config.json: a string, or an object with its content."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _max_length(folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """As sentence-transformers decides: its own file first, else what tokenizer and positions allow."""
    context = config["max_position_embeddings"]
    chosen = _optional(folder / "sentence_bert_config.json").get("max_seq_length") or settings.get("model_max_length")
    # tokenizer_config.json may say 1e30 for "no limit"
    if isinstance(chosen, int | float) and 1 < chosen < context:
        return int(chosen)
    return int(context)


def _prompts(path: Path) -> dict[str, str]:
    found = _optional(path).get("prompts") or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise CheckpointError(f'{path}: "prompts" is not an object of texts')
    prompts = dict(found)
    if prompts.get("query", "").strip() == CARD_TASK:
        prompts |= {"query": CARD_QUERY, AS_STORED: prompts["query"]}
    return prompts
