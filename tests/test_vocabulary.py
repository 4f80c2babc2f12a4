"""Which tokens stay, and that what is left of the tokenizer splits text as the whole one does."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fontTools import unicodedata as scripts_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from mlexport.bpe import closed, pieces, read_bpe, sliced_tokenizer
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import CheckpointError, UsageError
from mlexport.kept import KeptTokens
from mlexport.model import Checkpoint
from mlexport.probes import PROBES
from mlexport.scripts import characters, parse_scripts
from mlexport.vocabulary import Chosen, choose, load_tokenizer, parse_vocabulary
from tests.tiny import DEMO_FILES, make_tiny

TOKENIZER: dict[str, Any] = json.loads((DEMO_FILES / "tokenizer.json").read_text(encoding="utf-8"))
PATH = Path("tokenizer.json")
SINGLES = sorted(pre_tokenizers.ByteLevel.alphabet())
# Mixtures of scripts, with what stands between words
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text("abcdefgh ijklmnoABCé\n'0123.,!?-", max_size=60),
    st.text("абвгде жзийкл мноАБВ їґ.«»", max_size=60),
    st.text("的一是了我不人在他有这 。，「」ゲームの文字をカタ漢", max_size=30),
    st.text("कखगघ चछजझ िीुू्ंافسلم تنهوي ทนมยรลว กขค👍🏽👩‍👩‍👧❤️", max_size=30),
    st.lists(st.sampled_from([probe.text for probe in PROBES]), max_size=2).map(" ".join),
)


@pytest.fixture(scope="module")
def demo() -> Checkpoint:
    return open_checkpoint("demo")


def chosen(checkpoint: Checkpoint, *values: str, coverage: float | None = None) -> Chosen:
    request = parse_vocabulary(values, coverage)
    assert request is not None
    return choose(checkpoint, request)


def left_of(tokenizer: dict[str, Any], kept: KeptTokens) -> Tokenizer:
    return load_tokenizer(sliced_tokenizer(tokenizer, kept))


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


# ---- The split of texts


@pytest.mark.parametrize("values", [("5000",), ("scripts:Latn,Cyrl",), ("scripts:Jpan,emoji", "600"), ("corpus",)])
def test_a_text_whose_tokens_all_stay_is_split_as_before(
    demo: Checkpoint, tmp_path_factory: pytest.TempPathFactory, values: tuple[str, ...]
) -> None:
    corpus = tmp_path_factory.mktemp("corpus") / "texts.txt"
    corpus.write_text("Über den Straßen\nписьмо другу\nゲームの図書館\nthe photo editor\n", encoding="utf-8")
    kept = chosen(demo, *(f"corpus:{corpus}" if value == "corpus" else value for value in values)).kept
    whole, left = load_tokenizer(TOKENIZER), left_of(TOKENIZER, kept)
    new_ids, outcomes = kept.new_ids(), set()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(TEXTS)
    def check(text: str) -> None:
        before, after = ids_of(whole, text), ids_of(left, text)
        survives = set(before) <= set(new_ids)
        outcomes.add(survives)
        if survives:
            assert after == [new_ids[old] for old in before]
        assert left.decode(after) == whole.decode(before) == unicodedata.normalize("NFC", text)

    check()
    # Neither half of the claim was empty
    assert outcomes == {True, False}


@pytest.mark.parametrize("scripts", ["Latn,Cyrl", "Jpan,emoji", "Deva,Thai,-digits"])
def test_a_text_of_the_chosen_characters_alone_always_survives(demo: Checkpoint, scripts: str) -> None:
    """Tokens that end or begin inside a character stay too."""
    allowed = characters(parse_scripts(scripts))
    kept = set(chosen(demo, f"scripts:{scripts}").kept.ids.tolist())
    whole = load_tokenizer(TOKENIZER)

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(st.text(sorted(allowed), max_size=40))
    def check(text: str) -> None:
        composed = unicodedata.normalize("NFC", text)
        if allowed.issuperset(composed):
            assert set(ids_of(whole, text)) <= kept

    check()


def random_bpe(pairs: list[tuple[int, int]]) -> dict[str, Any]:
    """A byte-level BPE on a few letters: each pair of numbers picks the parents of a merge."""
    vocabulary = {token: number for number, token in enumerate(SINGLES)}
    made, merges = list("abcd"), []
    for left, right in pairs:
        merge = (made[left % len(made)], made[right % len(made)])
        token = "".join(merge)
        if merge not in merges and len(token) < 8:
            merges.append(merge)
            vocabulary.setdefault(token, len(vocabulary))
            made.append(token)
    return small_tokenizer(vocabulary, merges)


def small_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<end>", normalized=False)])
    return dict(json.loads(tokenizer.to_str()))


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=25),
    st.sets(st.integers(0, 30)),
    st.lists(st.text("abcd", min_size=1, max_size=24), min_size=1, max_size=8),
    st.booleans(),
)
def test_closure_is_exact_for_any_merges(
    pairs: list[tuple[int, int]], places: set[int], texts: list[str], ignore_merges: bool
) -> None:
    """Also where several merges make one token, in any order of priority."""
    tokenizer = random_bpe(pairs)
    tokenizer["model"]["ignore_merges"] = ignore_merges
    bpe = read_bpe(tokenizer, PATH)
    ids = bpe.singles | bpe.added | {256 + place for place in places if 256 + place in bpe.tokens}
    kept = KeptTokens.of(closed(bpe, ids), len(bpe.ids))
    whole, left, new_ids = load_tokenizer(tokenizer), left_of(tokenizer, kept), kept.new_ids()
    for text in texts:
        before = ids_of(whole, text)
        if set(before) <= set(new_ids):
            assert ids_of(left, text) == [new_ids[old] for old in before]


def test_closing_over_the_first_merge_alone_would_change_splits() -> None:
    """The counter-example for the smaller closure: "abcd" is abc, d through (a, bc), which (ab, c) comes before."""
    merges = [("b", "c"), ("a", "b"), ("c", "d"), ("ab", "c"), ("a", "bc")]
    made = dict.fromkeys("".join(merge) for merge in merges)
    tokenizer = small_tokenizer({token: i for i, token in enumerate([*SINGLES, *made])}, merges)
    whole, bpe = load_tokenizer(tokenizer), read_bpe(tokenizer, PATH)
    wanted = {number for token in ("abc", "cd") if (number := whole.token_to_id(token)) is not None}
    always = bpe.singles | bpe.added
    assert whole.encode("abcd").tokens == ["abc", "d"]
    kept = KeptTokens.of(closed(bpe, always | wanted), len(bpe.ids))
    assert left_of(tokenizer, kept).encode("abcd").tokens == ["abc", "d"]
    of_the_first = wanted | {whole.token_to_id("ab")}
    smaller = KeptTokens.of(always | of_the_first, len(bpe.ids))
    assert left_of(tokenizer, smaller).encode("abcd").tokens == ["ab", "cd"]


# ---- Which tokens stay


def test_the_first_tokens_are_nested_and_closed(demo: Checkpoint) -> None:
    found = [chosen(demo, str(count)) for count in (300, 2000, 9000)]
    text = demo.text
    for smaller, larger in pairwise(found):
        assert set(smaller.kept.ids) < set(larger.kept.ids)
    for count, one in zip((300, 2000, 9000), found, strict=True):
        ids = one.kept.ids.tolist()
        assert ids[:count] == list(range(count))
        assert ids[-3:] == [16381, 16382, 16383]
        # On top of the count: special tokens, and what the query prompt needs
        assert set(load_tokenizer(TOKENIZER).encode(text.prompts["query"]).ids) <= set(ids)
        # Trained merges make no token before its parents: of the first none is a mere parent
        parents = set(ids) - set(range(count)) - {16381, 16382, 16383}
        assert len(parents) <= len(ids_of(load_tokenizer(TOKENIZER), text.prompts["query"])) + one.report.merge_parents
    assert (found[2].report.tokens_before, found[2].report.tokens) == (16384, found[2].kept.count)


def test_values_are_united(demo: Checkpoint) -> None:
    latin, first = chosen(demo, "scripts:Latn"), chosen(demo, "700")
    both = chosen(demo, "scripts:Latn", "700")
    assert set(both.kept.ids) == set(latin.kept.ids) | set(first.kept.ids)


def test_scripts_keep_every_token_of_their_characters_and_no_other(demo: Checkpoint) -> None:
    kept = set(chosen(demo, "scripts:Cyrl").kept.ids.tolist())
    whole = load_tokenizer(TOKENIZER)
    tokens = {number: whole.decode([number]) for number in range(256, whole.get_vocab_size() - 3)}
    prompt = set(ids_of(whole, demo.text.prompts["query"]))
    cyrillic = {i for i, text in tokens.items() if text.strip() and all("а" <= c <= "я" for c in text.strip().lower())}
    latin = {i for i, text in tokens.items() if any("a" <= c <= "z" for c in text.lower())}
    assert len(cyrillic) > 500 and cyrillic <= kept
    assert len(latin) > 3000 and not (latin & kept) - parents_of(prompt)


def parents_of(ids: set[int]) -> set[int]:
    return closed(read_bpe(TOKENIZER, PATH), ids)


def test_a_corpus_keeps_what_it_uses_with_each_prompt(demo: Checkpoint, tmp_path: Path) -> None:
    lines = ["photo editor", "шахматы", "ゲーム\tpour"]
    (tmp_path / "c.txt").write_text("\n".join(lines), encoding="utf-8")
    found = chosen(demo, f"corpus:{tmp_path / 'c.txt'}")
    whole, left = load_tokenizer(TOKENIZER), left_of(TOKENIZER, found.kept)
    for line in lines:
        for text in (line, demo.text.prompts["query"] + line):
            assert left.encode(text).tokens == whole.encode(text).tokens
    lengths = found.report.corpus
    assert lengths is not None
    assert lengths.texts == 3 and lengths.characters == sum(map(len, lines))
    assert lengths.tokens_before == lengths.tokens_after == sum(len(ids_of(whole, line)) for line in lines)
    assert found.report.probes.tokens_after > found.report.probes.tokens_before
    assert found.report.probes.texts == len(PROBES)


def test_coverage_keeps_the_most_frequent_share(demo: Checkpoint, tmp_path: Path) -> None:
    """Each word is one token, bare and behind the prompt's space: 97, 2 and 1 percent of the corpus's tokens."""
    lines = ["library"] * 97 + ["editor"] * 2 + ["game"]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    vocabulary = TOKENIZER["model"]["vocab"]

    def stays(coverage: float | None) -> list[bool]:
        kept = set(chosen(demo, f"corpus:{tmp_path / 'c.jsonl'}", coverage=coverage).kept.ids.tolist())
        return [{vocabulary[word], vocabulary[f"Ġ{word}"]} <= kept for word in ("library", "editor", "game")]

    assert stays(None) == stays(1.0) == stays(0.999) == [True, True, True]
    assert stays(0.99) == [True, True, False]
    assert stays(0.97) == [True, False, False]
    assert stays(0.3) == [False, False, False]


def test_bytes_specials_and_prompts_always_stay(demo: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("ab", encoding="utf-8")
    kept = set(chosen(demo, f"corpus:{tmp_path / 'c.txt'}").kept.ids.tolist())
    vocabulary = TOKENIZER["model"]["vocab"]
    assert {vocabulary[token] for token in SINGLES} <= kept
    assert {token["id"] for token in TOKENIZER["added_tokens"]} <= kept
    assert set(load_tokenizer(TOKENIZER).encode(demo.text.prompts["query"]).ids) <= kept


# ---- Characters of scripts, and parts of characters


@pytest.mark.parametrize("name", ["Latn", "Cyrl", "Arab", "Deva", "Hani", "Hira", "Kana", "Hang", "Thai", "Grek"])
def test_characters_are_those_of_another_library(name: str) -> None:
    """fontTools has Unicode's Scripts and ScriptExtensions too; characters since Unicode 3.2, whose data rest."""
    found = characters(parse_scripts(f"{name},-digits,-punctuation"))
    for character in assigned():
        extension = scripts_of.script_extension(character)
        if not extension & {"Zyyy", "Zinh"}:
            assert (character in found) == (name in extension), hex(ord(character))


@pytest.mark.parametrize("choice", ["digits", "punctuation"])
def test_shared_digits_and_punctuation_are_choices(choice: str) -> None:
    others = ",".join(f"-{name}" for name in {"digits", "punctuation"} - {choice})
    found = characters(parse_scripts(f"Latn,{others}"))
    without = characters(parse_scripts("Latn,-digits,-punctuation"))
    wanted = {"digits": ("N",), "punctuation": ("P", "S")}[choice]
    pictures = characters(parse_scripts("Latn,-digits,-punctuation,emoji")) - without
    shared = [c for c in assigned() if scripts_of.script_extension(c) == {"Zyyy"} and c not in pictures]
    inside = {c for c in shared if unicodedata.category(c)[0] in wanted}
    assert len(inside) > 50
    assert inside <= found and not inside & without
    assert {c for c in shared if unicodedata.category(c)[0] in "ZC"} <= without


def assigned() -> Iterator[str]:
    """Characters that Unicode 3.2 had, private ones aside."""
    for code in (*range(0xD800), *range(0xF900, 0x20000)):
        if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Co"):
            yield chr(code)


def test_emoji_come_by_asking() -> None:
    plain, asked = (characters(parse_scripts(f"Latn{more}")) for more in ("", ",emoji"))
    assert not set("😀👍🏽🇺🚀⏰") & plain and set("😀👍🏽🇺🚀⏰") <= asked
    # A selector or joiner alone is no picture, and these are text
    assert set("\ufe0f\u200d©™✓☺❤") <= plain


def test_names_of_scripts() -> None:
    assert parse_scripts("Latin").names == ("Latin",)
    assert characters(parse_scripts("Latin")) == characters(parse_scripts("latn"))
    assert parse_scripts("Jpan").names == ("Hani", "Hira", "Kana")
    assert set("漢かカー々。") <= characters(parse_scripts("Jpan"))
    assert parse_scripts("Hans,Hant").names == ("Hani",)


def test_the_alphabet_of_bytes_is_gpt2s() -> None:
    bpe = read_bpe(TOKENIZER, PATH)
    theirs = {character: byte for byte, character in bytes_to_unicode().items()}
    for token, number in TOKENIZER["model"]["vocab"].items():
        assert bpe.tokens[number] == bytes(theirs[character] for character in token)


def test_parts_of_characters() -> None:
    data = " 図書".encode()
    parts = pieces(data[:-1])
    assert parts is not None and (parts.head, parts.text, parts.tail) == (b"", " 図", "書".encode()[:-1])
    parts = pieces(data[2:])
    assert parts is not None and (parts.head, parts.text, parts.tail) == ("図".encode()[1:], "書", b"")
    parts = pieces(data[2:3])
    assert parts is not None and (parts.head, parts.text, parts.tail) == ("図".encode()[1:2], "", b"")
    assert pieces(b"a\xffb") is None
    assert pieces(b"\xe4a") is None


# ---- The new tokenizer.json


def test_processors_and_padding_are_renumbered(demo: Checkpoint) -> None:
    end = {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}
    template = TOKENIZER["post_processor"]
    tokenizer = TOKENIZER | {
        "padding": {
            "strategy": "BatchLongest",
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 16381,
            "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        },
        "post_processor": {
            "type": "Sequence",
            "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}, template],
        },
    }
    assert end in template["single"]
    kept = KeptTokens.of([*range(1000), 16381, 16382, 16383], 16384)
    left = Tokenizer.from_str(json.dumps(sliced_tokenizer(tokenizer, kept)))
    assert left.encode("a").ids[-1] == left.token_to_id("<|im_end|>") == 1002
    assert left.padding is not None and left.padding["pad_id"] == 1000
    bert = TOKENIZER | {
        "post_processor": {"type": "BertProcessing", "sep": ["<|im_end|>", 16383], "cls": ["<|im_start|>", 16382]}
    }
    encoded = Tokenizer.from_str(json.dumps(sliced_tokenizer(bert, kept))).encode("a")
    assert (encoded.ids[0], encoded.ids[-1]) == (1001, 1002)


def test_merges_in_the_old_form_stay_in_it() -> None:
    old = TOKENIZER | {"model": TOKENIZER["model"] | {"merges": [" ".join(m) for m in TOKENIZER["model"]["merges"]]}}
    kept = KeptTokens.of([*range(1000), 16381, 16382, 16383], 16384)
    sliced = sliced_tokenizer(old, kept)
    assert sliced["model"]["merges"] == old["model"]["merges"][: 1000 - 256]
    assert load_tokenizer(sliced).get_vocab() == left_of(TOKENIZER, kept).get_vocab()


# ---- What is refused


def with_model(**changes: object) -> dict[str, Any]:
    return TOKENIZER | {"model": TOKENIZER["model"] | changes}


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (with_model(type="WordPiece"), "t.json is a tokenizer of type WordPiece: --vocab cuts byte-level BPE only. Le"),
        (TOKENIZER | {"pre_tokenizer": None}, "t.json is a BPE of characters: --vocab cuts byte-level BPE only."),
        (with_model(byte_fallback=True), "t.json is a BPE of characters: --vocab cuts byte-level BPE only."),
        (with_model(end_of_word_suffix="</w>"), "t.json is a BPE with end_of_word_suffix: --vocab cuts byte-level"),
        (with_model(vocab={"a": 0}), "t.json has only 1 of the 256 bytes: a cut could lose text"),
        (with_model(merges=[["a", "\u2603"]]), "t.json: a merge names a token that is not there ('\u2603')"),
    ],
)
def test_other_tokenizers_are_refused(tokenizer: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        read_bpe(tokenizer, Path("t.json"))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("values", "coverage", "message"),
    [
        (["many"], None, "--vocab 'many' is none of 32000 (a number of tokens), scripts:Latn,Cyrl, corpus:FILE"),
        (["5__0"], None, "--vocab '5__0' is none of 32000 (a number of tokens), scripts:Latn,Cyrl, corpus:FILE"),
        (["corpus:"], None, "--vocab 'corpus:' is none of 32000 (a number of tokens), scripts:Latn,Cyrl, corpus:FILE"),
        (["scripts:"], None, "--vocab scripts: names no script: expected a list such as scripts:Latn,Cyrl"),
        (["scripts:Latain"], None, "--vocab knows no script 'Latain': did you mean Latn?"),
        (["scripts:Latn,Cyrilic"], None, "--vocab knows no script 'Cyrilic': did you mean Cyrl?"),
        (["scripts:Latn)"], None, "--vocab knows no script 'Latn)': did you mean Latn?"),
        (["scripts:emogi"], None, "--vocab knows no script 'emogi': did you mean emoji?"),
        (
            ["scripts:Zyyy"],
            None,
            "--vocab knows no script 'Zyyy': expected names such as Latn, Cyrl, Arab, Jpan, or digits, punctuation, "
            "emoji",
        ),
        (["corpus:no/such.txt"], None, "--vocab corpus: no/such.txt does not exist"),
        (["300"], 0.5, "--vocab-coverage is for --vocab corpus:FILE: name a corpus, or leave the coverage out"),
        ([], 0.5, "--vocab-coverage is for --vocab corpus:FILE: name a corpus, or leave the coverage out"),
    ],
)
def test_wrong_words_are_one_line(values: list[str], coverage: float | None, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_vocabulary(values, coverage)
    assert str(error.value) == message


@pytest.mark.parametrize("coverage", [0.0, -1.0, 1.5, float("nan")])
def test_coverage_is_a_share(tmp_path: Path, coverage: float) -> None:
    (tmp_path / "c.txt").write_text("a b")
    with pytest.raises(UsageError, match=r"^--vocab-coverage is .*: expected a share above 0 and at most 1, such as "):
        parse_vocabulary([f"corpus:{tmp_path / 'c.txt'}"], coverage)


@pytest.mark.parametrize("count", ["0", "256", "16385"])
def test_a_number_out_of_range(demo: Checkpoint, count: str) -> None:
    with pytest.raises(UsageError) as error:
        chosen(demo, count)
    assert str(error.value) == (
        f"--vocab {count} is out of range: this tokenizer has 16384 tokens, and 256 bytes always stay"
    )


def test_an_end_without_a_token_is_refused(tmp_path: Path) -> None:
    """A row of the table past the tokenizer's tokens, which no cut of the vocabulary keeps."""
    folder = make_tiny(tmp_path / "model", layers=1, vocabulary=16400, append_eos=False)
    for name, change in (("tokenizer_config.json", {"eos_token": None}), ("config.json", {"eos_token_id": 16390})):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(content | change), encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json lacks the token of id 16390, which ends or pads texts$"
    ):
        chosen(open_checkpoint(str(folder)), "2000")


def test_no_value_is_no_slice() -> None:
    assert parse_vocabulary([]) is None


def test_nothing_but_bytes_is_refused(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "model", layers=1, vocabulary=300)
    settings_path = folder / "config_sentence_transformers.json"
    settings_path.write_text(json.dumps({"prompts": {"query": ""}}))
    (tmp_path / "c.txt").write_text("\u2603", encoding="utf-8")
    with pytest.raises(UsageError, match="keeps no token of more than a byte: ask for more"):
        chosen(open_checkpoint(str(folder)), f"corpus:{tmp_path / 'c.txt'}")
