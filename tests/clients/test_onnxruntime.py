"""An ONNX artifact in `onnxruntime` and `tokenizers` alone, and through sentence-transformers' own modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tokenizers import Tokenizer

from mlexport.probes import PROBES, over_long
from tests.reference import hand_cut
from tests.tiny import PAD, make_tiny
from tests.written import sliced

TEXTS = [probe.text for probe in PROBES] + [over_long(64).text]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=64)


@pytest.fixture(scope="module")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "o"
    sliced(model, out, verify="off", layers=2, dim=32, targets=["onnx"], precisions=["f32"])
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def batch(artifact: Path, texts: list[str], side: str) -> dict[str, np.ndarray]:
    tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
    tokenizer.enable_truncation(read(artifact / "sentence_bert_config.json")["max_seq_length"])
    tokenizer.enable_padding(direction=side, pad_token=PAD, pad_id=tokenizer.token_to_id(PAD))
    rows = tokenizer.encode_batch(texts)
    return {
        "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
        "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
    }


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("prompt", ["document", "query"])
def test_onnxruntime_and_tokenizers_are_enough(model: Path, artifact: Path, side: str, prompt: str) -> None:
    prefix = read(artifact / "config_sentence_transformers.json")["prompts"][prompt]
    texts = [prefix + text for text in TEXTS]
    session = ort.InferenceSession(artifact / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    [found] = session.run(["sentence_embedding"], batch(artifact, texts, side))
    expected = hand_cut(model, texts, layers=2, rank=None, dim=32, max_length=64)
    assert (found * expected).sum(axis=1).min() >= 0.99999


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_listed_modules_take_the_second_output(model: Path, artifact: Path, side: str) -> None:
    """backend="onnx" needs another transformers than this environment's: benchmarks/clients.py runs it whole."""
    listed = [(entry["type"].rsplit(".", 1)[-1], entry["path"]) for entry in read(artifact / "modules.json")]
    assert listed == [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    pooling = Pooling.load(str(artifact / "1_Pooling"))
    assert pooling.get_embedding_dimension() == 32
    feed = batch(artifact, TEXTS, side)
    session = ort.InferenceSession(artifact / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    [states] = session.run(["last_hidden_state"], feed)
    features = {
        "token_embeddings": torch.from_numpy(states),
        "attention_mask": torch.from_numpy(feed["attention_mask"]),
    }
    found = Normalize()(pooling(features))["sentence_embedding"].numpy()
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32, max_length=64)
    assert (found * expected).sum(axis=1).min() >= 0.99999
