"""llama.cpp's own vectors of the Qwen2 tokenizer, through a GGUF that this project wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from mlexport.checkpoint import open_checkpoint
from mlexport.export import gguf as exporter
from mlexport.probes import PROBES
from mlexport.quantize.plan import plan_tensors
from mlexport.runtime.llamacpp import LlamaEmbedder
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from tests.qwen2 import llama_cpps_vectors, make_qwen2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, qwen2_files: Path) -> Path:
    return make_qwen2(tmp_path_factory.mktemp("qwen2") / "model", qwen2_files)


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> LlamaEmbedder:
    opened = open_checkpoint(str(checkpoint))
    out = tmp_path_factory.mktemp("gguf")
    sub = cut(opened, SubModelSpec.parse("L1-D64"))
    name = exporter.write(sub, plan_tensors(sub, Target.GGUF, "q8_0", None), out, lambda _: None)
    return LlamaEmbedder(out, name, opened.text, 64)


def test_ids_are_those_of_llama_cpps_vectors(model: LlamaEmbedder) -> None:
    texts, expected = zip(*llama_cpps_vectors(), strict=True)
    found = [ids[:-1] for ids in model.token_ids(texts)]
    for text, ids, wanted in zip(texts, found, expected, strict=True):
        assert ids == wanted, repr(text)


def test_ids_are_those_of_transformers_on_every_probe(checkpoint: Path, model: LlamaEmbedder) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    texts = [probe.text for probe in PROBES]
    assert [ids[:-1] for ids in model.token_ids(texts)] == tokenizer(texts)["input_ids"]
