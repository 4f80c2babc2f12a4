"""A `hf` folder loads unchanged in AutoModel and SentenceTransformer, with transformers' own vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from mlexport.probes import PROBES
from mlexport.spec import SubModelSpec
from tests.reference import hand_cut
from tests.tiny import make_tiny
from tests.written import write_cut

TEXTS = [probe.text for probe in PROBES]


def write_hf(checkpoint: Path, out: Path, spec: str, precision: str = "f32") -> None:
    _, folder = write_cut(checkpoint, out, spec, target="hf", precision=precision)
    assert folder == out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", layers=3, append_eos=True)


@pytest.mark.parametrize(("layers", "rank", "dim"), [(3, None, 64), (2, None, 16), (1, 8, 32), (3, 16, 8)])
def test_vectors_are_those_of_the_checkpoint_cut_by_hand(
    checkpoint: Path, tmp_path: Path, layers: int, rank: int | None, dim: int
) -> None:
    write_hf(checkpoint, tmp_path / "hf", SubModelSpec(layers=layers, rank=rank, dim=dim).name)
    expected = hand_cut(checkpoint, TEXTS, layers=layers, rank=rank, dim=dim, max_length=64)
    vectors = SentenceTransformer(str(tmp_path / "hf"), device="cpu").encode(TEXTS, batch_size=7)
    assert vectors.shape == (len(TEXTS), dim)
    assert (vectors * expected).sum(axis=1).min() >= 0.99999


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batches_in_automodel(checkpoint: Path, tmp_path: Path, side: str) -> None:
    write_hf(checkpoint, tmp_path / "hf", "L2-D32")
    model = AutoModel.from_pretrained(tmp_path / "hf").eval()
    assert model.dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf", padding_side=side)
    batch = tokenizer(TEXTS[:9], padding=True, return_tensors="pt")
    last = batch["attention_mask"].cumsum(dim=1).argmax(dim=1)
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state[torch.arange(9), last]
    assert hidden[:, 32:].abs().max() == 0
    vectors = torch.nn.functional.normalize(hidden[:, :32], dim=1).numpy()
    assert (vectors * hand_cut(checkpoint, TEXTS[:9], layers=2, rank=None, dim=32)).sum(axis=1).min() >= 0.99999


@pytest.mark.parametrize(("precision", "dtype"), [("f16", "F16"), ("bf16", "BF16"), ("f32", "F32")])
def test_precision_is_that_of_the_file_and_of_the_loaded_model(
    checkpoint: Path, tmp_path: Path, precision: str, dtype: str
) -> None:
    write_hf(checkpoint, tmp_path / "hf", "L2-D64", precision)
    with safe_open(tmp_path / "hf" / "model.safetensors", framework="pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {dtype}  # noqa: SIM118
    loaded = AutoModel.from_pretrained(tmp_path / "hf")
    assert str(loaded.dtype) == {"f16": "torch.float16", "bf16": "torch.bfloat16", "f32": "torch.float32"}[precision]
    assert loaded.config.num_hidden_layers == 2


def test_query_prompt_and_length_limit_travel(checkpoint: Path, tmp_path: Path) -> None:
    write_hf(checkpoint, tmp_path / "hf", "L1-D64")
    original = SentenceTransformer(str(checkpoint), device="cpu")
    copy = SentenceTransformer(str(tmp_path / "hf"), device="cpu")
    assert copy.prompts == original.prompts
    assert copy.max_seq_length == original.max_seq_length
    long = "word " * 2000
    ids = copy.tokenizer(long, truncation=True, max_length=copy.max_seq_length)["input_ids"]
    assert len(ids) == copy.max_seq_length
    assert ids[-1] == copy.tokenizer.eos_token_id


@pytest.mark.parametrize("before", [None, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}])
def test_the_end_token_is_appended_where_the_checkpoint_does_not(
    tmp_path: Path, before: dict[str, object] | None
) -> None:
    bare = make_tiny(tmp_path / "bare", append_eos=False)
    path = bare / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"post_processor": before}))
    write_hf(bare, tmp_path / "hf", "L2-D32")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    plain = AutoTokenizer.from_pretrained(bare)
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == [*plain(text)["input_ids"], plain.eos_token_id]
    whole = make_tiny(tmp_path / "whole", append_eos=True)
    expected = hand_cut(whole, TEXTS, layers=2, rank=None, dim=32, max_length=64)
    vectors = SentenceTransformer(str(tmp_path / "hf"), device="cpu").encode(TEXTS)
    assert (vectors * expected).sum(axis=1).min() >= 0.99999
