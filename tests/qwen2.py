"""Qwen2's tokenizer, rebuilt once for all tests, and llama.cpp's own vectors of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from qwen2_tokenizer import write_tokenizer

from tests.tiny import make_tiny

MAX_LENGTH = 1024
# `make` unpacks llama-cpp-python's source distribution there (benchmarks/llama_sources.py)
_VOCABULARY = Path(sys.prefix) / "llama.cpp" / "models" / "ggml-vocab-qwen2.gguf"
_SEPARATOR = "\n__ggml_vocab_test__\n"


def rebuild(temporary: Path) -> Path:
    """A folder with the tokenizer's two files; workers of pytest-xdist share it.

    Args:
        temporary: this worker's folder of temporary files.
    """
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary
    folder = shared / "qwen2-tokenizer"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            partial.mkdir()
            write_tokenizer(_VOCABULARY, partial, MAX_LENGTH)
            partial.rename(folder)
    return folder


def put_tokenizer(files: Path, folder: Path, max_length: int = MAX_LENGTH) -> Path:
    """Copy the two files into a checkpoint's folder; the folder."""
    shutil.copy(files / "tokenizer.json", folder)
    settings = json.loads((files / "tokenizer_config.json").read_text(encoding="utf-8"))
    text = json.dumps(settings | {"model_max_length": max_length}, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return folder


def make_qwen2(folder: Path, files: Path) -> Path:
    """A checkpoint of one tiny layer with the whole tokenizer, 151,936 tokens; `files` are `rebuild`'s."""
    make_tiny(folder, layers=1, vocabulary=151936, rank=None, max_length=MAX_LENGTH)
    return put_tokenizer(files, folder)


def llama_cpps_vectors() -> list[tuple[str, list[int]]]:
    """Texts and their ids, as llama.cpp's repository has them."""
    texts = Path(f"{_VOCABULARY}.inp").read_bytes().decode().split(_SEPARATOR)
    lines = Path(f"{_VOCABULARY}.out").read_text().split("\n")[: len(texts)]
    assert len(texts) > 40
    return [(text, [int(number) for number in line.split()]) for text, line in zip(texts, lines, strict=True)]


@pytest.fixture(scope="session")
def qwen2_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `rebuild`."""
    return rebuild(tmp_path_factory.getbasetemp())
