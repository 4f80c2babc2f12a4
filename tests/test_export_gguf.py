"""The GGUF file against llama.cpp itself, gguf-py, and transformers cut by hand."""

from __future__ import annotations

import ctypes
import unicodedata
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest
from transformers import AutoTokenizer

from mlexport.checkpoint import open_checkpoint
from mlexport.errors import CheckpointError
from mlexport.probes import PROBES, over_long
from mlexport.runtime.llamacpp import LlamaEmbedder
from mlexport.spec import PRECISIONS, SubModelSpec, Target
from tests.reference import hand_cut
from tests.tiny import make_tiny
from tests.written import write_cut

MAX_LENGTH = 64
TEXTS = [probe.text for probe in PROBES] + [over_long(MAX_LENGTH).text]
NAMES = sorted(set(PRECISIONS[Target.GGUF].values()))


def write_gguf(checkpoint: Path, out: Path, spec: str, precision: str = "f32", table: str | None = None) -> Path:
    return write_cut(checkpoint, out, spec, target="gguf", precision=precision, table=table)[1]


def embedder(checkpoint: Path, file: Path, dim: int) -> LlamaEmbedder:
    return LlamaEmbedder(file.parent, file.name, open_checkpoint(str(checkpoint)).text, dim)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of 256: K-quants apply."""
    folder = tmp_path_factory.mktemp("wide") / "model"
    return make_tiny(folder, layers=9, hidden=256, mlp=256, heads=4, head_dim=64, rank=32, max_length=MAX_LENGTH)


@pytest.mark.parametrize(("layers", "rank", "dim"), [(3, None, 64), (2, 8, 16), (1, 16, 8)])
def test_f32_vectors_are_those_of_transformers(
    checkpoint: Path, tmp_path: Path, layers: int, rank: int | None, dim: int
) -> None:
    file = write_gguf(checkpoint, tmp_path / "g", SubModelSpec(layers=layers, rank=rank, dim=dim).name)
    model = embedder(checkpoint, file, dim)
    expected = hand_cut(checkpoint, TEXTS, layers=layers, rank=rank, dim=dim, max_length=MAX_LENGTH)
    found = model.embed(TEXTS)
    model.close()
    assert found.shape == (len(TEXTS), dim)
    assert (found * expected).sum(axis=1).min() >= 0.99999


def test_a_tokenizer_without_eos_gets_it(tmp_path: Path) -> None:
    bare = make_tiny(tmp_path / "model", append_eos=False, max_length=MAX_LENGTH)
    file = write_gguf(bare, tmp_path / "g", "L2-D32")
    model = embedder(bare, file, 32)
    end = AutoTokenizer.from_pretrained(bare).eos_token_id
    assert all(ids[-1] == end for ids in model.token_ids(TEXTS))
    model.close()
    llama = llama_cpp.Llama(str(file), embedding=True, verbose=False, n_ctx=128)
    assert llama.tokenize(b"abc", add_bos=True)[-1] == end
    llama.close()


def test_token_ids_are_the_original_tokenizers(checkpoint: Path, tmp_path: Path) -> None:
    file = write_gguf(checkpoint, tmp_path / "g", "L1-D64")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = embedder(checkpoint, file, 64)
    expected = tokenizer(TEXTS, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    assert model.token_ids(TEXTS) == expected
    assert len(expected[-1]) == MAX_LENGTH
    model.close()


@pytest.mark.parametrize(("cache", "cosine"), [({}, 0.9999), ({"type_k": 0, "type_v": 0}, 0.99999)])
def test_llama_cpp_python_runs_the_file_unchanged(
    checkpoint: Path, tmp_path: Path, cache: dict[str, int], cosine: float
) -> None:
    """Pooling, EOS and the dim cut are in the file: the plain client gets them without options.

    Its default cache rounds keys and values to f16; with f32 (type 0) it is exact. llama.cpp composes no
    characters, so that a client of its must (NFC).
    """
    dim = 16
    file = write_gguf(checkpoint, tmp_path / "g", f"L2-D{dim}")
    names = ("en", "ru", "ja", "code", "emoji", "ar")
    texts = [unicodedata.normalize("NFC", probe.text) for probe in PROBES if probe.name in names]
    llama = llama_cpp.Llama(str(file), embedding=True, verbose=False, n_ctx=512, **cache)
    # All texts in one batch
    vectors = np.array(llama.embed(texts, normalize=True))
    llama.close()
    assert vectors.shape == (len(texts), 64)
    assert np.abs(vectors[:, dim:]).max() == 0
    # The plain client knows no longest text
    expected = hand_cut(checkpoint, texts, layers=2, rank=None, dim=dim)
    assert (vectors[:, :dim] * expected).sum(axis=1).min() >= cosine


def test_metadata_is_what_llama_cpp_needs(checkpoint: Path, tmp_path: Path) -> None:
    file = write_gguf(checkpoint, tmp_path / "g", "L2-D32", "q8_0")
    assert file.name == "model-L2-D32-Q8_0.gguf"
    fields = gguf.GGUFReader(file).fields
    expected = {
        "general.architecture": "qwen3",
        "general.file_type": 7,
        "qwen3.block_count": 2,
        "qwen3.attention.head_count_kv": 2,
        "qwen3.attention.key_length": 32,
        "qwen3.attention.value_length": 32,
        "qwen3.pooling_type": 3,
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.add_eos_token": True,
        "tokenizer.ggml.add_bos_token": False,
        "mlexport.dim": 32,
        "mlexport.prompt.query": "Query: ",
    }
    assert {key: fields[key].contents() for key in expected} == expected
    assert "qwen3.embedding_length_out" not in fields


def llama_quantize(source: Path, target: Path, precision: str, table: str | None = None) -> None:
    """llama.cpp's own whole-file quantiser."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{precision.upper()}")
    if table is not None:
        parameters.token_embedding_type = parameters.output_tensor_type = int(gguf.GGMLQuantizationType[table.upper()])
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
    assert code == 0


@pytest.mark.parametrize(
    ("model", "precision", "table"),
    [("wide", name, None) for name in NAMES if name not in ("f32", "bf16", "f16")]
    + [("checkpoint", "q4_k_m", None), ("checkpoint", "q6_k", None), ("checkpoint", "q5_k_m", None)]
    + [("wide", "q8_0", "q4_k"), ("wide", "q4_k_m", "q8_0"), ("wide", "q4_0", "q4_0")],
)
def test_every_tensor_is_llama_quantizes_bit_for_bit(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, precision: str, table: str | None
) -> None:
    source: Path = request.getfixturevalue(model)
    spec = "L9-R32-D128" if model == "wide" else "L3-D64"
    plain = write_gguf(source, tmp_path / "f32", spec)
    llama_quantize(plain, tmp_path / "theirs.gguf", precision, table)
    own = None if table is None else {"q4_k": "q4_k_m"}.get(table, table)
    ours = gguf.GGUFReader(write_gguf(source, tmp_path / "ours", spec, precision, own))
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "theirs.gguf").tensors}
    assert {tensor.name for tensor in ours.tensors} == set(theirs)
    for tensor in ours.tensors:
        other = theirs[tensor.name]
        assert tensor.tensor_type == other.tensor_type, tensor.name
        assert np.array_equal(tensor.data, other.data), tensor.name


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_half_precisions_are_gguf_pys(wide: Path, tmp_path: Path, precision: str) -> None:
    ours = gguf.GGUFReader(write_gguf(wide, tmp_path / "ours", "L2-D256", precision))
    plain = {t.name: t for t in gguf.GGUFReader(write_gguf(wide, tmp_path / "f32", "L2-D256")).tensors}
    kind = gguf.GGMLQuantizationType[precision.upper()]
    matrices = [tensor for tensor in ours.tensors if len(tensor.shape) == 2]
    assert len(matrices) == 15
    for tensor in matrices:
        assert tensor.tensor_type == kind
        expected = gguf.quants.quantize(np.array(plain[tensor.name].data), kind)
        assert np.array_equal(tensor.data.view(np.uint8), expected.view(np.uint8)), tensor.name


def test_a_table_larger_than_the_tokenizer_is_filled_up(tmp_path: Path) -> None:
    big = make_tiny(tmp_path / "model", vocabulary=16500, max_length=MAX_LENGTH)
    file = write_gguf(big, tmp_path / "g", "L1-D64")
    fields = gguf.GGUFReader(file).fields
    tokens, kinds = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()
    assert len(tokens) == len(set(tokens)) == len(kinds) == 16500
    assert kinds[-1] == gguf.TokenType.UNUSED
    model = embedder(big, file, 64)
    assert model.token_ids(["hello"]) == [AutoTokenizer.from_pretrained(big)("hello")["input_ids"]]
    model.close()


def test_another_split_rule_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = make_tiny(tmp_path / "model")
    path = copy / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("\\\\p{N}|", "\\\\p{N}{1,3}|"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no byte-level BPE with Qwen2's split rule"):
        write_gguf(copy, tmp_path / "g", "L1-D64")
