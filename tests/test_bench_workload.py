"""Texts of exact token counts; transformers' tokenizers count them again."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pytest
from transformers import AutoTokenizer

from mlexport.bench.request import DEFAULT_TOKENS
from mlexport.bench.workload import TEXTS, compose
from mlexport.errors import MeasureError
from mlexport.evaluate.beir import read_retrieval_set
from tests.tiny import make_tiny


@pytest.fixture(scope="module", params=[None, 2000], ids=["demo's vocabulary", "2,000 tokens"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AutoTokenizer:
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model", vocabulary=request.param, max_length=512)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("tokens", DEFAULT_TOKENS)
def test_every_text_has_the_count(tokenizer: AutoTokenizer, tokens: int) -> None:
    def count(texts: Sequence[str]) -> list[int]:
        # As an artifact counts: cut at the longest text, 512
        return [len(ids) for ids in tokenizer(list(texts), truncation=True, max_length=512)["input_ids"]]

    texts = compose(count, tokens)
    assert len(set(texts)) == TEXTS
    # Not cut by a limit: the same counts without one
    counts = [len(ids) for ids in tokenizer(list(texts), truncation=False)["input_ids"]]
    assert counts == [tokens] * TEXTS


def test_texts_are_real_and_in_several_scripts(tokenizer: AutoTokenizer) -> None:
    texts = compose(lambda some: [len(ids) for ids in tokenizer(list(some))["input_ids"]], 128)
    scripts = {unicodedata.name(letter).split()[0] for text in texts for letter in text if letter.isalpha()}
    assert {"LATIN", "CYRILLIC", "CJK", "HIRAGANA", "HANGUL"} <= scripts
    queries = [query.text for query in read_retrieval_set("builtin").queries]
    assert all(any(query in text for query in queries) for text in texts)


def test_the_same_texts_again(tokenizer: AutoTokenizer) -> None:
    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts))["input_ids"]]

    assert compose(count, 32) == compose(count, 32)


def test_a_tokenizer_that_never_meets_the_count() -> None:
    with pytest.raises(MeasureError, match="no text of exactly 33 tokens was found"):
        compose(lambda texts: [2 * len(text) for text in texts], 33)


def test_a_token_a_byte() -> None:
    """The worst jumps: four tokens a character."""
    texts = compose(lambda some: [len(text.encode()) + 1 for text in some], 64)
    assert [len(text.encode()) + 1 for text in texts] == [64] * TEXTS
