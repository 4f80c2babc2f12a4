"""One GGUF file for llama.cpp: architecture qwen3, last-token pooling, EOS and the dim cut all in the file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlexport.artifact import TensorPlan
from mlexport.errors import CheckpointError, missing_extra
from mlexport.model import FINAL_NORM, TABLE, SubModel
from mlexport.quantize.ggml import GGML_TYPES, packed
from mlexport.quantize.plan import BLOCKS
from mlexport.textfacts import TOKENIZER

if TYPE_CHECKING:
    from gguf import GGUFWriter

ARCHITECTURE = "qwen3"
_LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
# enum llama_ftype of llama.h: what `general.file_type` says
_FILE_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q8_0": 7,
    "q5_0": 8,
    "q5_1": 9,
    "q4_k_m": 15,
    "q5_k_m": 17,
    "q6_k": 18,
    "iq4_nl": 25,
    "iq4_xs": 30,
    "bf16": 32,
}
# The split rule that `tokenizer.ggml.pre = qwen2` stands for in llama-vocab.cpp
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# enum llama_token_type
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_BYTES = np.dtype(np.uint8)


def write(
    sub: SubModel,
    plan: Sequence[TensorPlan],
    folder: Path,
    advance: Callable[[int], None],
    *,
    precision: str | None = None,
) -> str:
    """Write the cut as one GGUF file, tensor by tensor in blocks of rows.

    Args:
        plan: one row a tensor; schemes of `quantize.plan.BLOCKS`.
        folder: where other precisions may lie already.
        precision: what to call the file by; None: what most matrices follow.
        advance: called with the bytes of each block written.

    Returns:
        The file's name, such as demo-L8-D128-Q8_0.gguf.

    Raises:
        MissingExtraError: gguf or llama-cpp-python is not installed.
        CheckpointError: the tokenizer is none that llama.cpp's `qwen2` can run.
    """
    try:
        from gguf import GGMLQuantizationType, GGUFWriter  # noqa: PLC0415
    except ImportError:
        raise missing_extra("gguf", "gguf", "target gguf") from None
    most = _precision(plan)
    name = f"{_file_stem(sub)}-{(precision or most).upper()}.gguf"
    writer = GGUFWriter(folder / name, ARCHITECTURE)
    try:
        _add_facts(writer, sub, most)
        _add_tokenizer(writer, sub)
        for row in plan:
            # gguf-py takes the packed shape: bytes in place of the last axis
            numbers, size = BLOCKS[row.scheme]
            shape = (*row.shape[:-1], row.shape[-1] // numbers * size)
            kind = GGMLQuantizationType(GGML_TYPES[row.scheme])
            writer.add_tensor_info(gguf_name(row.name), shape, _BYTES, row.bytes, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        _write_tensors(writer, sub, plan, advance)
    finally:
        writer.close()
    return name


def gguf_name(name: str) -> str:
    """A tensor's name in GGUF for its name in transformers."""
    if name == TABLE:
        return "token_embd.weight"
    if name == FINAL_NORM:
        return "output_norm.weight"
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{_LAYER_NAMES[rest]}"


def _write_tensors(
    writer: GGUFWriter, sub: SubModel, plan: Sequence[TensorPlan], advance: Callable[[int], None]
) -> None:
    """Stream the data where gguf-py's own method wants whole arrays; each tensor starts on the file's alignment."""
    assert writer.fout is not None
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    for row in plan:
        make = partial(packed, sub.tensors[row.name], row.scheme)
        for block in sub.packed_once(row.name, f"gguf {row.scheme}", make):
            advance(file.write(block.data))
        writer.write_padding(file, row.bytes)


def _precision(plan: Sequence[TensorPlan]) -> str:
    """The precision most of the body's matrices follow, for the file's name and `general.file_type`."""
    schemes = Counter(row.scheme for row in plan if len(row.shape) == 2 and row.name != TABLE)
    scheme = schemes.most_common(1)[0][0]
    # As llama-quantize calls the mixtures around them
    return {"q4_k": "q4_k_m", "q5_k": "q5_k_m"}.get(scheme, scheme)


def _file_stem(sub: SubModel) -> str:
    model = re.sub(r"[^\w.+-]", "-", sub.checkpoint.name.rsplit("/", 1)[-1])
    return f"{model}-{sub.spec.name}"


def _add_facts(writer: GGUFWriter, sub: SubModel, precision: str) -> None:
    config, checkpoint = sub.config, sub.checkpoint
    writer.add_type("model")
    writer.add_name(f"{checkpoint.name} {sub.spec.name}")
    writer.add_file_type(_FILE_TYPES[precision])
    writer.add_quantization_version(2)
    writer.add_vocab_size(config.vocabulary)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden)
    writer.add_feed_forward_length(config.mlp)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    # head_dim is its own number: llama.cpp would take hidden / heads
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_uint32(f"{ARCHITECTURE}.pooling_type", 3)
    # `embedding_length_out` would be the field for a dim cut, but llama.cpp then fills batches wrongly:
    # the final norm is zero past dim instead, and these keys only tell
    writer.add_string("mlexport.spec", sub.spec.name)
    writer.add_uint32("mlexport.dim", sub.spec.dim)
    for name, prompt in sub.text.prompts.items():
        writer.add_string(f"mlexport.prompt.{name}", prompt)


def _add_tokenizer(writer: GGUFWriter, sub: SubModel) -> None:
    data = sub.tokenizer()
    _check_tokenizer(data, sub.checkpoint.folder / TOKENIZER)
    tokens, kinds = _tokens(data, sub.config.vocabulary)
    text = sub.text
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    # Pairs since tokenizers 0.20, before that one string
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in data["model"]["merges"]])
    writer.add_eos_token_id(text.end_id)
    writer.add_pad_token_id(text.pad_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)


def _tokens(data: Mapping[str, Any], vocabulary: int) -> tuple[list[str], list[int]]:
    """Text and type of each id; ids past the tokenizer's fill the table up, unused."""
    tokens = [f"[PAD{number}]" for number in range(vocabulary)]
    kinds = [_UNUSED] * vocabulary
    for token, number in data["model"]["vocab"].items():
        tokens[number], kinds[number] = token, _NORMAL
    for added in data["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = _CONTROL if added["special"] else _USER_DEFINED
    return tokens, kinds


def _check_tokenizer(data: Mapping[str, Any], path: Path) -> None:
    """Refuse what llama.cpp would tokenise otherwise without a word."""
    model, pre = data.get("model") or {}, data.get("pre_tokenizer") or {}
    splits = [part["pattern"].get("Regex") for part in _parts(pre) if part.get("type") == "Split"]
    normaliser = (data.get("normalizer") or {}).get("type")
    if model.get("type") != "BPE" or splits != [QWEN2_SPLIT]:
        raise CheckpointError(
            f"{path} is no byte-level BPE with Qwen2's split rule: llama.cpp's 'qwen2' differs from it"
        )
    if normaliser not in (None, "NFC"):
        raise CheckpointError(f"{path} normalises by {normaliser}, llama.cpp does not: target gguf would differ")


def _parts(pre: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(pre["pretokenizers"]) if pre.get("type") == "Sequence" else [pre]
