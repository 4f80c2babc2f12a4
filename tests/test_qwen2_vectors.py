"""llama.cpp's own vectors of the Qwen2 tokenizer, through a GGUF that this project wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from qwen2_tokenizer import write_tokenizer
from transformers import AutoTokenizer

from mlexport.checkpoint import open_checkpoint
from mlexport.export import gguf as exporter
from mlexport.probes import PROBES
from mlexport.quantize.plan import plan_tensors
from mlexport.runtime.llamacpp import LlamaEmbedder
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.tiny import make_tiny

# `make` unpacks llama-cpp-python's source distribution there (benchmarks/llama_sources.py)
VOCABULARY = Path(sys.prefix) / "llama.cpp" / "models" / "ggml-vocab-qwen2.gguf"
SEPARATOR = "\n__ggml_vocab_test__\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(
        tmp_path_factory.mktemp("qwen2") / "model", layers=1, vocabulary=151936, rank=None, max_length=1024
    )
    write_tokenizer(VOCABULARY, folder, 1024)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> LlamaEmbedder:
    opened = open_checkpoint(str(checkpoint))
    out = tmp_path_factory.mktemp("gguf")
    sub = cut(opened, SubModelSpec.parse("L1-D64"))
    name = exporter.write(sub, plan_tensors(sub, Target.GGUF, "q8_0", None), out, lambda _: None)
    return LlamaEmbedder(out, name, opened.text, 64)


def test_ids_are_those_of_llama_cpps_vectors(model: LlamaEmbedder) -> None:
    texts = Path(f"{VOCABULARY}.inp").read_bytes().decode().split(SEPARATOR)
    lines = Path(f"{VOCABULARY}.out").read_text().split("\n")
    expected = [[int(number) for number in line.split()] for line in lines[: len(texts)]]
    assert len(texts) > 40
    found = [ids[:-1] for ids in model.token_ids(texts)]
    for text, ids, wanted in zip(texts, found, expected, strict=True):
        assert ids == wanted, repr(text)


def test_ids_are_those_of_transformers_on_every_probe(checkpoint: Path, model: LlamaEmbedder) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    texts = [probe.text for probe in PROBES]
    assert [ids[:-1] for ids in model.token_ids(texts)] == tokenizer(texts)["input_ids"]
