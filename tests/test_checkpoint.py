"""Opening checkpoints: lazily, completely or not at all, and with one line where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from mlexport.checkpoint import open_checkpoint
from mlexport.errors import CheckpointError
from mlexport.textfacts import AS_STORED, CARD_QUERY, CARD_TASK
from tests.tiny import make_tiny


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        checkpoint = open_checkpoint(str(folder))
        for tensor in checkpoint.tensors.values():
            tensor.read()
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize(("prefix", "sharded"), [("", False), ("model.", True)])
def test_tensors_are_those_of_safetensors(tmp_path: Path, dtype: str, prefix: str, sharded: bool) -> None:
    folder = make_tiny(tmp_path / "m", dtype=dtype, prefix=prefix, sharded=sharded)
    expected: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        expected |= load_file(path)
    tensors = open_checkpoint(str(folder)).tensors
    assert {prefix + name for name in tensors} == set(expected)
    for name, tensor in tensors.items():
        whole = expected[prefix + name].float().numpy()
        assert np.array_equal(tensor.read(), whole)
        assert np.array_equal(tensor.read_rows(3, 7), whole[3:7])
        assert tensor.read().dtype == np.float32


def test_cuts_come_from_the_config_or_from_the_families_rules(tmp_path: Path) -> None:
    stored = open_checkpoint(str(make_tiny(tmp_path / "a")))
    assert (stored.trained_layers, stored.trained_ranks) == ((1, 2, 3), (8, 16))
    assert stored.trained_dims == (8, 16, 32, 64)
    by_rule = open_checkpoint(str(make_tiny(tmp_path / "b", layers=5, rank=160, hidden=192, trained=False)))
    assert by_rule.trained_layers == (1, 2, 4, 5)
    assert by_rule.trained_ranks == (64, 128, 160)
    assert by_rule.trained_dims == (8, 16, 32, 64, 128, 192)


def test_text_facts_are_the_tokenizers(tmp_path: Path) -> None:
    for appended in (True, False):
        folder = make_tiny(tmp_path / str(appended), append_eos=appended, max_length=48)
        text = open_checkpoint(str(folder)).text
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert text.end_appended == appended == (tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id)
        assert (text.end_id, text.end_token) == (tokenizer.eos_token_id, tokenizer.eos_token)
        assert (text.pad_id, text.max_length) == (tokenizer.pad_token_id, 48)
        assert text.prompts == {"query": "Query: ", "document": ""}


def test_an_end_token_that_is_not_the_eos_token_is_found(tmp_path: Path) -> None:
    """Qwen3-Embedding: eos_token is <|im_end|>, but the tokenizer appends <|endoftext|>."""
    folder = make_tiny(tmp_path / "m", trained=False, rank=None)
    path = folder / "tokenizer.json"
    text = json.loads(path.read_text(encoding="utf-8"))
    text["post_processor"] = json.loads(json.dumps(text["post_processor"]).replace("<|im_end|>", "<|endoftext|>"))
    ids = {token["content"]: token["id"] for token in text["added_tokens"]}
    template = json.dumps(text["post_processor"]).replace(f"[{ids['<|im_end|>']}]", f"[{ids['<|endoftext|>']}]")
    text["post_processor"] = json.loads(template)
    path.write_text(json.dumps(text), encoding="utf-8")
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.text.end_token, checkpoint.text.end_id) == ("<|endoftext|>", ids["<|endoftext|>"])
    # Its model card: dims from 32
    assert checkpoint.trained_dims == (32, 64)


def test_the_released_bare_task_becomes_the_cards_prompt_and_is_kept(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "m")
    edit(folder / "config_sentence_transformers.json", lambda c: c.update(prompts={"query": CARD_TASK}))
    assert open_checkpoint(str(folder)).text.prompts == {"query": CARD_QUERY, AS_STORED: CARD_TASK}


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"model_type": "llama"}, "model_type is 'llama', mlexport reads 'qwen3' embedders"),
    "bias": ({"attention_bias": True}, "attention_bias is True, mlexport supports False"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act is 'gelu', mlexport supports 'silu'"),
    "layers": ({"num_hidden_layers": "3"}, "num_hidden_layers is '3', expected a positive whole number"),
    "head_dim": ({"head_dim": None}, "head_dim is None, expected a positive whole number"),
    "rope": ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope type 'yarn' is not supported"),
    "theta": ({"rope_parameters": None, "rope_theta": None}, "rope_theta is None, expected a number above 1"),
    "eps": ({"rms_norm_eps": 0}, "rms_norm_eps is 0, expected a small positive number"),
    "quantised": ({"quantization_config": {}}, "is of an already quantised model"),
    "sliding": ({"layer_types": ["sliding_attention"] * 3}, "layer_types has others than 'full_attention'"),
    "more layers": ({"num_hidden_layers": 4}, "lacks the tensor 'layers.3.input_layernorm.weight' of its 4 layers"),
    "fewer layers": ({"num_hidden_layers": 2}, "which a Qwen3 encoder does not have (11 such)"),
    "shape": (
        {"intermediate_size": 97},
        "'layers.0.mlp.gate_proj.weight' has the shape [96, 64], config.json says [97",
    ),
    "trained": ({"mlexport_trained": {"layers": "all"}}, "mlexport_trained.layers is not a list of whole numbers"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_wrong_configuration_is_one_line(tmp_path: Path, name: str) -> None:
    changes, message = CONFIGS[name]
    folder = make_tiny(tmp_path / "m")
    edit(folder / "config.json", lambda config: config.update(changes))
    assert message in refused(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors", "V.pth"):
        folder = make_tiny(tmp_path / name)
        (folder / name).unlink()
        assert name in refused(folder)


def test_a_missing_or_strange_shard_is_named(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "m", sharded=True)
    shard = sorted(folder.glob("model-*.safetensors"))[-1]
    content = shard.read_bytes()
    shard.unlink()
    assert f"{shard.name} is missing: model.safetensors.index.json names it" in refused(folder)
    shard.write_bytes(content[:-10])
    assert f"{shard.name} is truncated" in refused(folder)
    edit(
        folder / "model.safetensors.index.json",
        lambda index: index["weight_map"].update({"norm.weight": "../elsewhere.safetensors"}),
    )
    assert "names '../elsewhere.safetensors', which is not a safetensors file beside it" in refused(folder)


@pytest.mark.parametrize("size", [0, 5, 8, 100, 5000, -1])
def test_a_truncated_file_is_one_line(tmp_path: Path, size: int) -> None:
    folder = make_tiny(tmp_path / "m")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    refused(folder)


def test_weights_in_pickles_only_are_refused(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "holds its weights as pickles only" in refused(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_found_when_read(tmp_path: Path, value: float) -> None:
    folder = make_tiny(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors["layers.1.mlp.down_proj.weight"][7, 3] = value
    save_file(tensors, folder / "model.safetensors")
    message = refused(folder)
    assert "'layers.1.mlp.down_proj.weight' holds a number that is NaN or infinite, first in row 7" in message


def test_a_stranger_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "m")
    path = folder / "tokenizer.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text("{}", encoding="utf-8")
    assert "is no tokenizer" in refused(folder)
    template = json.loads(whole)
    single = template["post_processor"]["single"]
    template["post_processor"]["single"] = single[::-1]
    path.write_text(json.dumps(template), encoding="utf-8")
    assert "puts tokens before a text" in refused(folder)


def test_an_unquantised_dtype_is_required(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors["norm.weight"] = torch.ones(64, dtype=torch.int8)
    save_file(tensors, folder / "model.safetensors")
    assert "'norm.weight' is stored as I8, expected one of BF16, F16, F32" in refused(folder)
