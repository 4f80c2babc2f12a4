"""A cut with a part of the vocabulary, in every format, against transformers on the whole checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from hypothesis import given, settings
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from mlexport import export, runtime
from mlexport import verify as verification
from mlexport.artifact import VerifyReport
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import CutError, VerificationError
from mlexport.kept import KeptTokens
from mlexport.model import TABLE, SubModel
from mlexport.probes import PROBES
from mlexport.quantize.plan import plan_tensors
from mlexport.runtime.llamacpp import LlamaEmbedder
from mlexport.runtime.tokens import TextEncoder
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, Target
from mlexport.vocabulary import load_tokenizer
from tests.qwen2 import put_tokenizer
from tests.reference import hand_cut
from tests.test_vocabulary import TEXTS, chosen, ids_of, left_of
from tests.tiny import make_tiny

# Rows without a token too, as Qwen3 has them
ROWS = 16500
MAX_LENGTH = 64
PROBE_TEXTS = [probe.text for probe in PROBES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", layers=2, vocabulary=ROWS)


@pytest.fixture(scope="module")
def kept(folder: Path) -> KeptTokens:
    return chosen(open_checkpoint(str(folder)), "scripts:Latn,Grek", "3000").kept


def sliced(folder: Path, kept: KeptTokens, *, rank: int | None = None, dim: int = 64, **options: Any) -> SubModel:
    spec = SubModelSpec(layers=2, vocab=kept.count, rank=rank, dim=dim)
    return cut(open_checkpoint(str(folder)), spec, vocabulary=kept, allow_untrained=True, **options)


def write(sub: SubModel, target: Target, out: Path, precision: str = "f32") -> str:
    out.mkdir(exist_ok=True)
    return export.load(target).write(sub, plan_tensors(sub, target, precision, None), out, lambda _: None)


def surviving(folder: Path, kept: KeptTokens, texts: Sequence[str]) -> list[str]:
    """Texts whose original tokens all stay, by transformers' tokenizer."""
    tokenizer, ids = AutoTokenizer.from_pretrained(folder), set(kept.ids.tolist())
    return [text for text in texts if set(tokenizer(text)["input_ids"]) <= ids]


# ---- The cut itself


def test_the_table_is_the_kept_rows(folder: Path, kept: KeptTokens) -> None:
    sub = sliced(folder, kept)
    stored = load_file(folder / "model.safetensors")[TABLE].float().numpy()
    assert np.array_equal(sub.tensors[TABLE].read(), stored[kept.ids])
    assert sub.config.vocabulary == sub.config.raw["vocab_size"] == kept.count < 16384
    # Special tokens stay on top; padding rows are gone
    assert (sub.text.end_id, sub.text.pad_id) == (kept.count - 1, kept.count - 3)
    assert (sub.config.raw["eos_token_id"], sub.config.raw["pad_token_id"]) == (kept.count - 1, kept.count - 3)
    assert sub.checkpoint.text.end_id == 16383


def test_a_rank_cut_keeps_rows_of_u(folder: Path, kept: KeptTokens) -> None:
    sub = sliced(folder, kept, rank=8)
    u, v = (torch.load(folder / f"{name}.pth", weights_only=True).float().numpy() for name in "UV")
    assert sub.factors is not None
    assert np.array_equal(sub.factors[0].read(), u[kept.ids, :8])
    assert np.allclose(sub.tensors[TABLE].read(), u[kept.ids, :8] @ v[:8], atol=1e-6)


def test_svd_is_that_of_the_whole_table(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "model", layers=2, vocabulary=600, rank=None, trained=False)
    kept = KeptTokens.of([*range(500), 597, 598, 599], 600)
    sub = sliced(folder, kept, rank=5)
    stored = load_file(folder / "model.safetensors")[TABLE].double()
    left, values, right = torch.linalg.svd(stored, full_matrices=False)
    expected = (left[:, :5] * values[:5] @ right[:5]).numpy()[kept.ids]
    assert np.abs(sub.tensors[TABLE].read() - expected).max() < 1e-4 * np.abs(expected).max()


def test_other_token_ids_of_config_json(folder: Path, kept: KeptTokens) -> None:
    opened = open_checkpoint(str(folder))
    gone = kept.runs[0][1]
    raw = opened.config.raw | {"eos_token_id": [16383, 16381], "bos_token_id": gone, "sep_token_id": None}
    changed = replace(opened, config=replace(opened.config, raw=raw))
    sub = cut(changed, SubModelSpec(layers=2, vocab=kept.count, rank=None, dim=64), vocabulary=kept)
    assert sub.config.raw["eos_token_id"] == [kept.count - 1, kept.count - 3]
    assert sub.config.raw["bos_token_id"] is sub.config.raw["sep_token_id"] is None


@pytest.mark.parametrize("name", ["L8-D128", "L8-V32000-D128", "L8-V32000-R128-D128", "L8-R128-D128"])
def test_names_both_ways(name: str) -> None:
    assert SubModelSpec.parse(name).name == name


def test_a_vocabulary_that_is_not_the_specs_is_refused(folder: Path, kept: KeptTokens) -> None:
    opened = open_checkpoint(str(folder))
    with pytest.raises(CutError, match=rf"^cut L2-V7-D64 needs a vocabulary of 7 tokens, got {kept.count}$"):
        cut(opened, SubModelSpec(layers=2, vocab=7, rank=None, dim=64), vocabulary=kept)
    with pytest.raises(CutError, match=r"^cut L2-V7-D64 needs a vocabulary of 7 tokens, got all$"):
        cut(opened, SubModelSpec(layers=2, vocab=7, rank=None, dim=64))
    other = replace(kept, rows=16384)
    with pytest.raises(CutError, match=r"was cut from a table of 16384 rows, this checkpoint has 16500$"):
        cut(opened, SubModelSpec(layers=2, vocab=kept.count, rank=None, dim=64), vocabulary=other)


# ---- Every format


# A compiled graph has a fixed shape: tests/test_export_qnn.py
@pytest.mark.parametrize("target", [target for target in Target if target is not Target.QNN])
@pytest.mark.parametrize("cut_to", [(None, 64), (8, 16)], ids=["D64", "R8-D16"])
def test_a_text_whose_tokens_all_stay_has_its_vector(
    folder: Path, kept: KeptTokens, tmp_path: Path, target: Target, cut_to: tuple[int | None, int]
) -> None:
    rank, dim = cut_to
    sub = sliced(folder, kept, rank=rank, dim=dim)
    embedder = runtime.load(target, tmp_path / "o", write(sub, target, tmp_path / "o"), sub.text, dim)
    texts = surviving(folder, kept, PROBE_TEXTS)
    assert 8 < len(texts) < len(PROBE_TEXTS)
    expected = hand_cut(folder, texts, layers=2, rank=rank, dim=dim, max_length=MAX_LENGTH)
    try:
        found, ids = embedder.embed(texts), embedder.token_ids(PROBE_TEXTS)
    finally:
        embedder.close()
    assert (found * expected).sum(axis=1).min() >= 0.99999
    # Of all texts, the others among them, the same ids in every format
    write(sub, Target.HF, tmp_path / "hf")
    assert ids == TextEncoder(tmp_path / "hf", sub.text).ids(PROBE_TEXTS)


def test_hf_loads_in_transformers_with_its_files_in_step(folder: Path, kept: KeptTokens, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        (folder / name).write_text("of the whole vocabulary", encoding="utf-8")
    try:
        write(sliced(folder, kept), Target.HF, tmp_path)
    finally:
        for name in ("vocab.json", "merges.txt", "added_tokens.json"):
            (folder / name).unlink()
    assert not {path.name for path in tmp_path.iterdir()} & {"vocab.json", "merges.txt", "added_tokens.json"}
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path).eval()
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings == kept.count
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (kept.count - 1, kept.count - 3)
    assert sorted(tokenizer.added_tokens_decoder) == [kept.count - 3, kept.count - 2, kept.count - 1]
    listed = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))["added_tokens_decoder"]
    assert {int(number): token["content"] for number, token in listed.items()} == {
        number: str(token) for number, token in tokenizer.added_tokens_decoder.items()
    }
    texts = surviving(folder, kept, PROBE_TEXTS)
    vectors = SentenceTransformer(str(tmp_path), device="cpu").encode(texts, batch_size=5)
    expected = hand_cut(folder, texts, layers=2, rank=None, dim=64, max_length=MAX_LENGTH)
    assert (vectors * expected).sum(axis=1).min() >= 0.99999
    ids = tokenizer(texts[0], return_tensors="pt")
    with torch.no_grad():
        last = torch.nn.functional.normalize(model(**ids).last_hidden_state[0, -1], dim=0).numpy()
    assert last @ expected[0] >= 0.99999


def test_a_cut_folder_can_be_cut_again(folder: Path, kept: KeptTokens, tmp_path: Path) -> None:
    sub = sliced(folder, kept)
    write(sub, Target.HF, tmp_path / "once")
    again = chosen(open_checkpoint(str(tmp_path / "once")), "1000")
    assert again.report.tokens_before == kept.count
    second = sliced(tmp_path / "once", again.kept)
    assert np.array_equal(second.tensors[TABLE].read(), sub.tensors[TABLE].read()[again.kept.ids])
    # Nested: the same as the first tokens of the whole vocabulary
    at_once = chosen(open_checkpoint(str(folder)), "1000").kept
    assert np.array_equal(kept.ids[again.kept.ids], at_once.ids)
    assert second.tokenizer()["model"] == sliced(folder, at_once).tokenizer()["model"]


def test_a_tokenizer_that_appends_no_end_gets_it_appended(kept: KeptTokens, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "model", layers=2, vocabulary=ROWS, append_eos=False)
    write(sliced(folder, kept), Target.HF, tmp_path / "hf")
    assert AutoTokenizer.from_pretrained(tmp_path / "hf")("a")["input_ids"][-1] == kept.count - 1


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory, qwen2_files: Path) -> Path:
    """With the tokenizer of the released checkpoints, of 151,936 rows."""
    folder = tmp_path_factory.mktemp("qwen2") / "model"
    make_tiny(folder, layers=2, vocabulary=151936, rank=None, hidden=32, mlp=32)
    return put_tokenizer(qwen2_files, folder)


@pytest.fixture(params=["demo's tokenizer", "Qwen2's tokenizer"])
def any_sub(folder: Path, kept: KeptTokens, request: pytest.FixtureRequest) -> SubModel:
    sub = sliced(folder, kept)
    if request.param == "Qwen2's tokenizer":
        large = request.getfixturevalue("qwen2")
        found = chosen(open_checkpoint(str(large)), "20000", "scripts:Cyrl,Hira,Deva,emoji")
        sub = sliced(large, found.kept, dim=32)
    return replace(sub, text=replace(sub.text, max_length=10_000))


def test_llama_cpp_agrees_on_the_new_vocabulary(any_sub: SubModel, tmp_path: Path) -> None:
    """Token for token in the file, and id for id on random text."""
    sub = any_sub
    write(sub, Target.HF, tmp_path / "hf")
    name = write(sub, Target.GGUF, tmp_path / "gguf")
    fields = GGUFReader(tmp_path / "gguf" / name).fields
    tokenizer = json.loads((tmp_path / "hf" / "tokenizer.json").read_text(encoding="utf-8"))
    assert sub.vocabulary is not None
    listed = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert listed == {token: number for number, token in enumerate(tokens)}
    assert len(tokens) == fields["qwen3.vocab_size"].contents() == sub.vocabulary.count
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    assert merges == [tuple(merge) for merge in tokenizer["model"]["merges"]]
    theirs = LlamaEmbedder(tmp_path / "gguf", name, sub.text, sub.spec.dim)
    ours, automatic = TextEncoder(tmp_path / "hf", sub.text), AutoTokenizer.from_pretrained(tmp_path / "hf")

    @settings(max_examples=500, deadline=None, database=None, derandomize=True)
    @given(TEXTS)
    def check(text: str) -> None:
        ids = ours.ids([text])
        assert theirs.token_ids([text]) == ids
        assert automatic(text)["input_ids"] == ids[0]

    try:
        check()
        assert theirs.token_ids(PROBE_TEXTS) == ours.ids(PROBE_TEXTS)
    finally:
        theirs.close()


# ---- The verification


def verify(sub: SubModel, target: Target, out: Path, mode: str = "full", name: str | None = None) -> VerifyReport:
    name = name or write(sub, target, out)
    with verification.Reference(sub, mode) as reference:
        return verification.verify(reference, target, precisions=["f32"], folder=out, model_file=name)


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_verification_compares_every_text_and_tells_what_the_split_changed(
    folder: Path, kept: KeptTokens, tmp_path: Path, mode: str
) -> None:
    report = verify(sliced(folder, kept, rank=8, dim=32), Target.HF, tmp_path / "hf", mode)
    assert (report.status, report.token_mismatches) == ("passed", 0)
    assert report.min_cosine is not None and report.min_cosine >= 0.99999
    change = report.split_change
    assert change is not None and change.mean_cosine is not None and change.min_cosine is not None
    probes = [probe for probe in PROBES if mode == "full" or probe.name in verification.SAMPLE_NAMES]
    texts = [probe.text for probe in probes]
    alive = surviving(folder, kept, texts)
    changed = [text for text in texts if text not in alive]
    # The over-long text is cut where it reads the same, or changes too
    assert change.texts - len(changed) in (0, 1)
    # Both splits through transformers, on the folder as written and on the checkpoint
    before = hand_cut(folder, changed, layers=2, rank=8, dim=32, max_length=MAX_LENGTH)
    after = SentenceTransformer(str(tmp_path / "hf"), device="cpu").encode(changed)
    cosines = (before * after).sum(axis=1)
    assert change.min_cosine <= cosines.min() + 1e-5
    assert cosines.mean() == pytest.approx(change.mean_cosine, abs=0.05)
    assert change.min_cosine < change.mean_cosine < 0.999


def test_a_slice_that_changes_no_text(folder: Path, tmp_path: Path) -> None:
    sub = sliced(folder, KeptTokens.of(range(16384), ROWS))
    report = verify(sub, Target.GGUF, tmp_path / "o", "sample")
    assert report.status == "passed"
    assert report.split_change is not None
    assert (report.split_change.texts, report.split_change.mean_cosine) == (0, None)


def test_rows_in_another_order_fail(folder: Path, kept: KeptTokens, tmp_path: Path) -> None:
    sub = sliced(folder, kept)
    table = sub.tensors[TABLE].read()[::-1]
    wrong = replace(sub.tensors[TABLE], read_rows=lambda start, stop: table[start:stop])
    name = write(replace(sub, tensors={**sub.tensors, TABLE: wrong}), Target.GGUF, tmp_path / "o")
    assert verify(sub, Target.GGUF, tmp_path / "o", "sample", name).status == "failed"


def test_a_vocabulary_that_is_not_closed_fails(folder: Path, kept: KeptTokens, tmp_path: Path) -> None:
    """A text whose tokens all stay is judged by its original ids, so that a missing merge is seen."""
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    used = {token for text in PROBE_TEXTS for token in AutoTokenizer.from_pretrained(folder).tokenize(text)}
    made_of = {"".join(merge): merge for merge in model["merges"]}
    english = AutoTokenizer.from_pretrained(folder).tokenize(PROBES[0].text)
    parent = next(p for token in english for p in made_of.get(token, ()) if len(p) > 1 and p not in used)
    broken = KeptTokens.of(set(kept.ids.tolist()) - {model["vocab"][parent]}, ROWS)
    report = verify(sliced(folder, broken), Target.HF, tmp_path / "hf", "sample")
    assert (report.status, report.token_mismatches) == ("failed", 1)
    assert report.worst_text.startswith("en: ")


def test_a_tokenizer_that_loses_text_stops_the_reference(folder: Path, kept: KeptTokens, tmp_path: Path) -> None:
    sub = sliced(folder, kept)
    name = write(sub, Target.HF, tmp_path / "hf")

    def lossy() -> dict[str, Any]:
        tokenizer = sub.tokenizer()
        tokenizer["model"]["vocab"].pop("Ñ")
        tokenizer["model"]["merges"] = [m for m in tokenizer["model"]["merges"] if "Ñ" not in "".join(m)]
        return tokenizer

    with pytest.raises(VerificationError, match="the vocabulary slice loses a part of the text"):
        verify(replace(sub, tokenizer=lossy), Target.HF, tmp_path / "hf", name=name)


# ---- A vocabulary of the real size


@pytest.mark.parametrize(
    "values", [("32000",), ("scripts:Latn,Cyrl,Jpan",), ("scripts:Deva", "2000", "corpus")], ids="-".join
)
def test_qwen2s_vocabulary(qwen2: Path, tmp_path: Path, values: tuple[str, ...]) -> None:
    (tmp_path / "c.txt").write_text("Zażółć gęślą jaźń\n" * 200, encoding="utf-8")
    found = chosen(
        open_checkpoint(str(qwen2)),
        *(f"corpus:{tmp_path / 'c.txt'}" if value == "corpus" else value for value in values),
    )
    tokenizer = json.loads((qwen2 / "tokenizer.json").read_text(encoding="utf-8"))
    whole, left, new_ids = load_tokenizer(tokenizer), left_of(tokenizer, found.kept), found.kept.new_ids()
    assert left.get_vocab_size() == found.kept.count < found.report.tokens_before == 151646
    # Rows past the last token are gone
    assert found.kept.ids[-1] == 151645
    outcomes = set()

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(TEXTS)
    def check(text: str) -> None:
        before, after = ids_of(whole, text), ids_of(left, text)
        survives = set(before) <= set(new_ids)
        outcomes.add(survives)
        if survives:
            assert after == [new_ids[old] for old in before]
        assert left.decode(after) == whole.decode(before)

    check()
    assert outcomes == {True, False}
