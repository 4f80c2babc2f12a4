"""The packaged demo checkpoint: the released layout, other people's loaders, and the quality its card states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

import mlexport

DATA = Path(mlexport.__file__).parent / "data"
DEMO = DATA / "demo"
RELEASED = {
    "1_Pooling/config.json",
    "2_Normalize/config.json",
    "README.md",
    "U.pth",
    "V.pth",
    "config.json",
    "config_sentence_transformers.json",
    "evaluation.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
LIMIT_BYTES = 32_000_000
# Whole model, 150 English queries, all documents. The set's own number is in evaluation.json
FLOOR_NDCG = 0.66
QUERIES = 150


def read_json(name: str) -> Any:
    return json.loads((DEMO / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return load_file(DEMO / "model.safetensors")


@pytest.fixture(scope="module")
def model() -> Iterator[SentenceTransformer]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield SentenceTransformer(str(DEMO), device="cpu", model_kwargs={"dtype": torch.float32})
    torch.set_num_threads(before)


def test_the_released_layout_is_complete_and_small() -> None:
    files = {path.relative_to(DEMO).as_posix(): path.stat().st_size for path in DEMO.rglob("*") if path.is_file()}
    assert set(files) == RELEASED
    assert sum(files.values()) <= LIMIT_BYTES


def test_the_configuration_has_the_familys_oddities() -> None:
    config = read_json("config.json")
    assert config["architectures"] == ["Qwen3Model"]
    assert config["num_attention_heads"] * config["head_dim"] != config["hidden_size"]
    assert config["num_key_value_heads"] < config["num_attention_heads"]
    assert config["mlexport_trained"] == {
        "layers": [1, 2, 4, 8, 12],
        "ranks": [32, 64, 128],
        "dims": [8, 16, 32, 64, 128, 256],
    }


def test_the_table_is_the_product_of_its_factors(weights: dict[str, torch.Tensor]) -> None:
    U, V = (torch.load(DEMO / name, weights_only=True) for name in ("U.pth", "V.pth"))
    table = weights["embed_tokens.weight"]
    config = read_json("config.json")
    assert {x.dtype for x in (U, V, table)} == {torch.bfloat16}
    assert table.shape == (config["vocab_size"], config["hidden_size"])
    assert U.shape[1] == max(config["mlexport_trained"]["ranks"])
    product = U.float() @ V.float()
    # Sums in another order may round the other way: at most one step of bfloat16, and rarely
    same = product.to(torch.bfloat16) == table
    assert same.float().mean() > 0.999
    torch.testing.assert_close(product, table.float(), rtol=2**-7, atol=1e-4)


def test_weights_are_finite_and_of_twelve_layers(weights: dict[str, torch.Tensor]) -> None:
    assert len([name for name in weights if name.endswith("q_proj.weight")]) == 12
    assert all(torch.isfinite(value).all() for value in weights.values())
    # A layer that adds nothing would make a depth worthless: every one writes to the stream
    written = [v.float().norm() for name, v in weights.items() if name.endswith(("o_proj.weight", "down_proj.weight"))]
    assert min(written) > 0.1


def test_transformers_and_sentence_transformers_agree(model: SentenceTransformer) -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = ["mail client", "программа для чтения почты", "画像ビューア"]
    tokenizer, plain = AutoTokenizer.from_pretrained(DEMO), AutoModel.from_pretrained(DEMO, dtype=torch.float32).eval()
    vectors = model.encode_query(texts, convert_to_tensor=True)
    assert model.get_embedding_dimension() == plain.config.hidden_size
    for text, vector in zip(texts, vectors, strict=True):
        with torch.no_grad():
            want = plain(**tokenizer("Query: " + text, return_tensors="pt")).last_hidden_state[0, -1]
        assert torch.cosine_similarity(want, vector, dim=0) > 0.99999
        assert vector.norm() == pytest.approx(1, abs=1e-5)


def read_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "evaluation" / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_retrieval_by_another_client_is_as_good_as_stated(model: SentenceTransformer) -> None:
    documents = read_lines("corpus.jsonl")
    english = [query for query in read_lines("queries.jsonl") if query["metadata"]["language"] == "en"]
    # Spread over the whole list: in its order neighbours are of one source
    chosen = english[:: len(english) // QUERIES][:QUERIES]
    judged = (DATA / "evaluation" / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    relevant = dict(line.split("\t")[:2] for line in judged)
    place = {document["_id"]: i for i, document in enumerate(documents)}
    found = model.encode_document([document["text"] for document in documents])
    asked = model.encode_query([query["text"] for query in chosen])
    similar = asked @ found.T
    own = similar[np.arange(QUERIES), [place[relevant[query["_id"]]] for query in chosen]]
    rank = (similar >= own[:, None]).sum(1)
    ndcg = np.where(rank <= 10, 1 / np.log2(1 + rank), 0.0).mean()
    whole = read_json("evaluation.json")["bars"]["english"]["measured"]
    assert ndcg >= FLOOR_NDCG
    # A sample of 150: its standard error is about .03
    assert ndcg == pytest.approx(whole, abs=0.1)


def test_the_evaluation_is_of_these_weights() -> None:
    digest = hashlib.sha256((DEMO / "model.safetensors").read_bytes()).hexdigest()
    evaluation = read_json("evaluation.json")
    assert evaluation["model_sha256"] == digest
    trained = read_json("config.json")["mlexport_trained"]
    want = {(n, r, d) for n in trained["layers"] for r in (None, *trained["ranks"]) for d in trained["dims"]}
    assert {(row["layers"], row["rank"], row["dim"]) for row in evaluation["grid"]} == want


def test_the_demo_meets_the_bars_its_evaluation_says_it_meets() -> None:
    bars = read_json("evaluation.json")["bars"]
    assert bars["english"]["measured"] >= bars["english"]["bar"] == 0.66
    assert bars["mean_of_languages"]["measured"] >= bars["mean_of_languages"]["bar"] == 0.57


def test_more_numbers_and_more_rank_are_better() -> None:
    cells = {
        (row["layers"], row["rank"], row["dim"]): row["ndcg_at_10_english"]
        for row in read_json("evaluation.json")["grid"]
    }
    by_dim = [cells[12, None, dim] for dim in (8, 16, 32, 64, 128, 256)]
    by_rank = [cells[12, rank, 256] for rank in (32, 64, 128)]
    assert by_dim == sorted(by_dim)
    assert by_rank == sorted(by_rank)


def test_the_card_states_what_was_measured() -> None:
    card, evaluation = (DEMO / "README.md").read_text(encoding="utf-8"), read_json("evaluation.json")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "pipeline_tag: sentence-similarity" in card
    assert evaluation["model_sha256"] in card
    rows = {tuple(line.strip("| ").split(" | ")) for line in card.splitlines() if line.startswith("|")}
    dims = sorted({row["dim"] for row in evaluation["grid"]})
    for measure in ("ndcg_at_10_english", "ndcg_at_10_cross_lingual"):
        cells = {(row["layers"], row["rank"], row["dim"]): row[measure] for row in evaluation["grid"]}
        for layers, rank in {(layers, rank) for layers, rank, _ in cells}:
            numbers = (f"{cells[layers, rank, dim]:.3f}".replace("0.", ".", 1) for dim in dims)
            assert (str(layers), str(rank or "stored"), *numbers) in rows
    for bar in evaluation["bars"].values():
        shown = f"{bar['measured']:.3f}".replace("0.", ".", 1)
        state = "met" if bar["measured"] >= bar["bar"] else "**not met**"
        assert any(row[-2:] == (shown, state) for row in rows)
