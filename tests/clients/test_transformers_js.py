"""An ONNX artifact in transformers.js on Node, unchanged: transformers' token ids and vectors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from mlexport.probes import PROBES, over_long
from tests import written
from tests.processors import INT8
from tests.reference import hand_cut
from tests.tiny import make_tiny

MODULES = Path(__file__).parents[2] / ".venv" / "node"
SCRIPT = Path(__file__).with_name("embed.mjs")
TEXTS = [probe.text for probe in PROBES] + [over_long(64).text]


def embed(artifact: Path, dtype: str, texts: list[str]) -> Any:
    installed = MODULES / "node_modules" / "@huggingface" / "transformers"
    assert installed.is_dir(), "transformers.js is not installed: run `make node` (it needs Node.js 20 and npm)"
    command = ["node", str(SCRIPT), str(MODULES), str(artifact), dtype]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sliced(model: Path, out: Path, precision: str) -> Path:
    written.sliced(model, out, verify="off", layers=2, dim=32, targets=["onnx"], precisions=[precision])
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=64)


# transformers.js's own names of precisions, each for one file under onnx/
@pytest.mark.parametrize(
    ("precision", "dtype", "lowest"),
    [("f32", "fp32", 0.99999), ("f16", "fp16", 0.9999), ("int8", "q8", INT8), ("int4", "q4", 0.9)],
)
def test_ids_and_vectors_are_transformers(
    model: Path, tmp_path: Path, precision: str, dtype: str, lowest: float
) -> None:
    found = embed(sliced(model, tmp_path / "o", precision), dtype, TEXTS)
    assert found["ids"] == AutoTokenizer.from_pretrained(model)(TEXTS)["input_ids"]
    expected = hand_cut(model, TEXTS, layers=2, rank=None, dim=32, max_length=64)
    cosines = (np.array(found["vectors"]) * expected).sum(axis=1)
    assert (cosines.min() if precision == "f32" else cosines.mean()) >= lowest


def test_the_query_prompt_is_in_the_folder(model: Path, tmp_path: Path) -> None:
    artifact = sliced(model, tmp_path / "o", "f32")
    settings = json.loads((artifact / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    queries = [settings["prompts"]["query"] + text for text in TEXTS[:5]]
    assert queries[0].startswith("Query: ")
    expected = hand_cut(model, queries, layers=2, rank=None, dim=32)
    assert (np.array(embed(artifact, "fp32", queries)["vectors"]) * expected).sum(axis=1).min() >= 0.99999


def test_an_end_token_that_the_checkpoint_leaves_out_is_appended(model: Path, tmp_path: Path) -> None:
    bare = make_tiny(tmp_path / "model", append_eos=False)
    found = embed(sliced(bare, tmp_path / "o", "f32"), "fp32", TEXTS[:9])
    assert found["ids"] == AutoTokenizer.from_pretrained(model)(TEXTS[:9])["input_ids"]
    expected = hand_cut(model, TEXTS[:9], layers=2, rank=None, dim=32, max_length=64)
    assert (np.array(found["vectors"]) * expected).sum(axis=1).min() >= 0.99999
