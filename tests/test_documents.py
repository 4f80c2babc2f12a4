"""YAML that people write: what is refused, in which words, and with which line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from mlexport import documents
from mlexport.documents import read_document
from mlexport.errors import DocumentError, UsageError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(gt=0)
    words: tuple[str, ...] = ()


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    inner: Inner
    parts: dict[str, Inner] = {}


GOOD = "name: a\ninner:\n  size: 3\n  words: [b, c]\nparts:\n  first: {size: 1}\n"


def problems(tmp_path: Path, content: str | bytes) -> list[str]:
    """What is said of a file of this content, without its folder."""
    path = tmp_path / "x.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DocumentError) as raised:
        read_document(path, Outer)
    return [problem.removeprefix(f"{tmp_path}/") for problem in raised.value.problems]


def test_a_good_document_is_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD, encoding="utf-8")
    found = read_document(path, Outer)
    assert (found.name, found.inner.words, found.parts["first"].size) == ("a", ("b", "c"), 1)


def test_a_change_is_put_in_before_the_check(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD, encoding="utf-8")
    changed = read_document(path, Outer, {"inner.size": 7, "parts.second.size": 8})
    assert (changed.inner.size, changed.parts["second"].size, changed.inner.words) == (7, 8, ("b", "c"))
    with pytest.raises(DocumentError, match=r"^--set inner.size: input should be greater than 0, got -1$"):
        read_document(path, Outer, {"inner.size": -1})


def test_all_errors_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = "nam: a\ninner:\n  size: big\n  words: [b, 3]\n  colour: red\nparts:\n  first:\n    words: []\n"
    assert problems(tmp_path, text) == [
        "x.yaml:1: missing key 'name'",
        "x.yaml:1: unknown key 'nam': did you mean 'name'?",
        "x.yaml:3: 'inner.size': input should be a valid integer, unable to parse string as an integer, got 'big'",
        "x.yaml:4: 'inner.words[1]': input should be a valid string, got 3",
        "x.yaml:5: unknown key 'inner.colour' (known: size, words)",
        "x.yaml:7: missing key 'parts.first.size'",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "1: expected keys and values at the top"),
        ("- a\n", "1: expected keys and values at the top"),
        ("word\n", "1: expected keys and values at the top"),
        ("name: [a, b\ninner: c\n", "2: expected ',' or ']', but got ':'"),
        ("name: a\ninner:\n\tsize: 1\n", "3: found character '\\t' that cannot start any token"),
        (b"name: \xff\xfe\n", " cannot be read: not UTF-8"),
        ("name: &n a\nother: *n\n", "1: anchors and aliases (&name, *name) are not read: write the value out"),
        ("name: a\n---\nname: b\n", "2: expected a single document in the stream, but found another document"),
        ("name: 2024-13-45\n", "1: month must be in 1..12"),
        ("a: " + "[" * 100_000, "1: nested more than 20 deep"),
        ("a: " + "[" * 22 + "]" * 22, "1: nested more than 20 deep"),
        ("x" * 2**20 + ": 1", "1: 1,048,579 bytes, limit 1,048,576"),
        ("? [a, b]\n: c\n", "1: found unhashable key"),
        (
            "name: !!python/object/apply:os.system [ls]\n",
            "1: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
    ],
)
def test_what_is_no_document_is_one_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert problems(tmp_path, content) == [f"x.yaml:{said}"]


def test_what_is_there_twice_is_said_beside_other_errors(tmp_path: Path) -> None:
    assert problems(tmp_path, "name: a\ninner:\n  size: 1\n  size: -2\nname: b\n") == [
        "x.yaml:4: 'inner.size' is there twice",
        "x.yaml:4: 'inner.size': input should be greater than 0, got -2",
        "x.yaml:5: 'name' is there twice",
    ]


def test_a_small_file_of_anchors_does_not_become_a_large_document(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    assert {problem.split(": ", 1)[1] for problem in problems(tmp_path, "\n".join(rows))} == {
        "anchors and aliases (&name, *name) are not read: write the value out"
    }


def test_the_words_do_not_depend_on_how_pyyaml_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ["a: [1\nb: 2\n", "a:\n\tb: 1\n", "a: 'x\n", "a: b: c\n", "{", "a: \x00\n", "a: &\n"]
    with_libyaml = [problems(tmp_path, text) for text in broken]
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert [problems(tmp_path, text) for text in broken] == with_libyaml
    path = tmp_path / "x.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert documents.read_document(path, Outer).inner.size == 3


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read_document(tmp_path / "none.yaml", Outer)
    assert str(raised.value) == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"
    with pytest.raises(UsageError) as raised:
        read_document(tmp_path, Outer)
    assert str(raised.value) == f"{tmp_path}: cannot be read: Is a directory"


def test_several_errors_are_counted_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\nb: 2\n", encoding="utf-8")
    with pytest.raises(DocumentError) as raised:
        read_document(path, Outer)
    assert str(raised.value) == f"{path} has 4 errors"
    assert raised.value.exit_code == 2
