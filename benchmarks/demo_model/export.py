"""Write the trained demo checkpoint in the released layout of ML-Embed.

    python benchmarks/demo_model/export.py --work WORK [--state FILE] --out mlexport/data/demo

Reads WORK/state.pt (train.py) and WORK/tokenizer.json. Every number is rounded to
bfloat16 once; `embed_tokens.weight` is bf16(U @ V) of the rounded factors, the
released "compatibility mode": the folder is a plain Qwen3 model for any client.

Before it ends it checks, on texts of several scripts, that transformers' AutoModel
gives the training code's own vectors at every trained depth, and that
SentenceTransformer loads the folder, pools the same token and adds the prompt.
The model card is card.py's; files of a former run that it does not write are left.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from data import QUERY_PROMPT
from model import Encoder, Shape
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

END, PAD = "<|im_end|>", "<|endoftext|>"
MAX_POSITIONS = 1024
MAX_LENGTH = 512
LIMIT_BYTES = 32_000_000
# The table is rounded once more than the factors the training code multiplies: not exactly 1
MIN_COSINE = 0.9999
CHECK_TEXTS = (
    "Real-time strategy game of ancient warfare",
    "Query: lettore di posta elettronica",
    "ウェブブラウザ",
    "веб-браузер с поддержкой вкладок\n\nи расширений",
    "",
    '网络 流量 分析器 🦀 fn main() { println!("hi"); }',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Token ids the configuration names."""

    end: int
    pad: int


def config(shape: Shape, ids: Ids) -> dict[str, object]:
    """config.json of Qwen3 in spellings of transformers 4 (rope_theta, torch_dtype) and 5 (rope_parameters, dtype)."""
    return {
        "architectures": ["Qwen3Model"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "dtype": "bfloat16",
        "eos_token_id": ids.end,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.mlp,
        "layer_types": ["full_attention"] * shape.layers,
        "max_position_embeddings": MAX_POSITIONS,
        "max_window_layers": shape.layers,
        "mlexport_trained": {
            "layers": list(shape.depths),
            "ranks": list(shape.ranks),
            "dims": list(shape.dims),
        },
        "model_type": "qwen3",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": ids.pad,
        "rms_norm_eps": shape.eps,
        "rope_parameters": {"rope_theta": shape.theta, "rope_type": "default"},
        "rope_scaling": None,
        "rope_theta": shape.theta,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocabulary,
    }


def tokenizer_config(tokenizer: Tokenizer) -> dict[str, object]:
    """tokenizer_config.json; the class is the released family's, which keeps tokenizer.json's EOS."""
    added = {
        str(number): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for number, token in sorted(tokenizer.get_added_tokens_decoder().items())
    }
    return {
        "added_tokens_decoder": added,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "model_max_length": MAX_LENGTH,
        "pad_token": PAD,
        "padding_side": "right",
        "tokenizer_class": "Qwen2Tokenizer",
        "truncation_side": "right",
        "unk_token": None,
    }


def sentence_transformers_files(shape: Shape) -> dict[str, object]:
    """The sentence-transformers side, in the spellings that versions 3 to 6 read."""
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    return {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": shape.hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": True,
            "include_prompt": True,
        },
        # What version 6 writes there; older ones ignore it. An empty folder would not survive git
        "2_Normalize/config.json": {
            "module_input_name": "sentence_embedding",
            "module_output_name": "sentence_embedding",
        },
        "sentence_bert_config.json": {"max_seq_length": MAX_LENGTH, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": QUERY_PROMPT, "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def rounded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict in bfloat16."""
    return {name: value.to(torch.bfloat16).contiguous() for name, value in state.items()}


def write_weights(weights: dict[str, Tensor], out: Path) -> None:
    """model.safetensors with the folded table, U.pth and V.pth."""
    U, V = weights["U"], weights["V"]
    tensors = {name: value for name, value in weights.items() if name not in ("U", "V")}
    tensors["embed_tokens.weight"] = (U.float() @ V.float()).to(torch.bfloat16)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors writes 0600: another user's wheel would not open it
    torch.save(U.clone(), out / "U.pth")
    torch.save(V.clone(), out / "V.pth")


def write(weights: dict[str, Tensor], shape: Shape, tokenizer_file: Path, out: Path) -> None:
    """The whole folder but its card."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    shutil.copyfile(tokenizer_file, out / "tokenizer.json")
    ids = Ids(end=tokenizer.token_to_id(END), pad=tokenizer.token_to_id(PAD))
    write_json(out / "config.json", config(shape, ids))
    write_json(out / "tokenizer_config.json", tokenizer_config(tokenizer))
    write_json(out / "special_tokens_map.json", {"eos_token": END, "pad_token": PAD})
    for name, value in sentence_transformers_files(shape).items():
        write_json(out / name, value)
    write_weights(weights, out)


@torch.no_grad()
def check_vectors(model: Encoder, out: Path) -> float:
    """Lowest cosine of transformers' vectors to the training code's, over texts and depths."""
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 (seconds to import)

    tokenizer = AutoTokenizer.from_pretrained(out)
    plain = Tokenizer.from_file(str(out / "tokenizer.json"))
    batch = tokenizer(list(CHECK_TEXTS), padding=True, return_tensors="pt")
    lengths = batch["attention_mask"].sum(1)
    for text, ids, n in zip(CHECK_TEXTS, batch["input_ids"].tolist(), lengths.tolist(), strict=True):
        if ids[:n] != plain.encode(text).ids:
            raise SystemExit(f"AutoTokenizer disagrees with tokenizer.json on {text!r}")
    ours = model(batch["input_ids"], lengths, model.s.rank, model.s.layers)
    reference = AutoModel.from_pretrained(out, dtype=torch.float32).eval()
    states = reference(**batch, output_hidden_states=True).hidden_states
    rows = torch.arange(len(CHECK_TEXTS))
    worst = 1.0
    for depth, vectors in zip(model.s.depths, ours, strict=True):
        # The last entry has been through the final norm already
        theirs = states[depth] if depth == model.s.layers else reference.norm(states[depth])
        worst = min(worst, torch.cosine_similarity(theirs[rows, lengths - 1], vectors).min().item())
    return worst


def check_sentence_transformers(out: Path) -> float:
    """Lowest cosine of encode_query to AutoModel on the prompted text (and prompts are what the folder says)."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    st = SentenceTransformer(str(out), device="cpu", model_kwargs={"dtype": torch.float32})
    if (st.max_seq_length, st.get_embedding_dimension()) != (MAX_LENGTH, Shape().hidden):
        raise SystemExit(
            f"sentence-transformers reads {st.max_seq_length} tokens, {st.get_embedding_dimension()} numbers"
        )
    texts = list(CHECK_TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModel.from_pretrained(out, dtype=torch.float32).eval()
    worst = 1.0
    for prompt, vectors in (
        (QUERY_PROMPT, st.encode_query(texts, convert_to_tensor=True)),
        ("", st.encode_document(texts, convert_to_tensor=True)),
    ):
        for text, vector in zip(texts, vectors, strict=True):
            with torch.no_grad():
                want = model(**tokenizer(prompt + text, return_tensors="pt")).last_hidden_state[0, -1]
            worst = min(worst, torch.cosine_similarity(want, vector, dim=0).item())
            if abs(vector.norm().item() - 1) > 1e-5:
                raise SystemExit("sentence-transformers does not normalise")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--state", type=Path, help="default WORK/state.pt")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    state = torch.load(args.state or args.work / "state.pt", map_location="cpu", weights_only=True)
    shape, weights = Shape(), rounded(state["model"])
    write(weights, shape, args.work / "tokenizer.json", args.out)
    model = Encoder(shape).eval()
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    cosines = {
        "transformers": check_vectors(model, args.out),
        "sentence-transformers": check_sentence_transformers(args.out),
    }
    total = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"step {state['step']}, {total / 1e6:.2f} MB, lowest cosines {cosines}")
    if min(cosines.values()) < MIN_COSINE or total > LIMIT_BYTES:
        raise SystemExit(f"needs cosine ≥ {MIN_COSINE} and at most {LIMIT_BYTES} bytes")


if __name__ == "__main__":
    main()
