"""The manifest: read back strictly, and compared with what lies in the folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlexport.artifact import MANIFEST, read_artifact, verify_files
from mlexport.errors import ArtifactError
from tests.manifests import make_artifact


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    edit(data)
    (folder / MANIFEST).write_text(json.dumps(data), encoding="utf-8")


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = make_artifact(tmp_path / "a")
    assert read_artifact(tmp_path / "a").manifest == written.manifest
    assert written.text.prompts == {"query": "q "}


def test_files_carry_size_and_sha256(tmp_path: Path) -> None:
    entries = {entry.path: entry for entry in make_artifact(tmp_path / "a", b"weights").manifest.files}
    assert sorted(entries) == ["1_Pooling/config.json", "model.gguf"]
    assert entries["model.gguf"].sha256 == hashlib.sha256(b"weights").hexdigest()
    assert entries["model.gguf"].bytes == 7


def test_a_changed_file_of_the_same_size_is_found_by_its_sha256(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a", b"weights")
    (tmp_path / "a" / "model.gguf").write_bytes(b"WEIGHTS")
    artifact = read_artifact(tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"model\.gguf changed since it was written: sha256"):
        verify_files(artifact)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(format_version=1), "has format_version 1, this mlexport reads 2"),
        (lambda d: d.update(extra=1), "unknown key 'extra'"),
        (lambda d: d.pop("spec"), "missing key 'spec'"),
        (lambda d: d.update(hidden="8"), "'hidden' is str, expected int"),
        (lambda d: d.update(hidden=True), "'hidden' is bool, expected int"),
        (lambda d: d.update(files={}), "'files' is dict, expected list"),
        (lambda d: d.update(before=[]), "'before' is list, expected object"),
        (lambda d: d.update(variants=[]), "lists no variant"),
        (
            lambda d: d["variants"][0]["verification"].update(texts=1.5),
            r"'variants\[0\].verification.texts' is float, expected int",
        ),
        (lambda d: d["variants"][0]["plan"][0].pop("reason"), r"missing key 'variants\[0\].plan\[0\].reason'"),
        (lambda d: d["variants"][0].update(model_file="other.gguf"), "'other.gguf' is not among its files"),
        (lambda d: d["files"][1].update(bytes=8), "model.gguf has 7 bytes, the manifest says 8"),
        (lambda d: d["files"][1].update(path="../model.gguf"), r"outside its folder: '\.\./model\.gguf'"),
        (lambda d: d["files"][1].update(path="/etc/hostname"), "outside its folder: '/etc/hostname'"),
        (lambda d: d["files"][1].update(path="..\\model.gguf"), "outside its folder"),
        (lambda d: d["files"][1].update(path="C:model.gguf"), "outside its folder"),
        (lambda d: d["files"][1].update(path="gone.gguf"), r"gone\.gguf is missing"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_line(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    make_artifact(tmp_path / "a")
    change(tmp_path / "a", edit)
    with pytest.raises(ArtifactError, match=message) as caught:
        read_artifact(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a", b"weights")
    (tmp_path / "secret").write_bytes(b"weights")
    (tmp_path / "a" / "model.gguf").unlink()
    (tmp_path / "a" / "model.gguf").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="outside its folder"):
        read_artifact(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00"])
def test_a_broken_manifest_is_one_line(tmp_path: Path, text: str) -> None:
    make_artifact(tmp_path / "a")
    (tmp_path / "a" / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=MANIFEST) as caught:
        read_artifact(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_what_is_no_artifact_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, message in (("gone", "does not exist"), ("file", "is a file"), ("", "has no mlexport.json")):
        with pytest.raises(ArtifactError, match=message):
            read_artifact(tmp_path / name)
