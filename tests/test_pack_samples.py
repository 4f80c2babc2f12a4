"""The samples for Node and Python, run as their README says: vectors, prompts, stored vectors, and a search."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mlexport.evaluate.stored import to_int8
from mlexport.opened import open_artifact
from mlexport.pack import write_pack
from tests.packs import COSINE, LONGEST, TEXTS, node_modules, run
from tests.tiny import make_tiny
from tests.written import sliced

# Runs search.py where neither mlexport nor torch can be imported
ALONE = (
    "import runpy, sys; sys.path.insert(0, '.'); "
    "sys.modules.update(dict.fromkeys(('mlexport', 'torch', 'transformers'))); "
    "sys.argv[0] = 'search.py'; runpy.run_path('search.py', run_name='__main__')"
)
PYTHON = (sys.executable, "-c", ALONE)
NODE = ("node", "search.mjs")


def packed(artifact: Path, out: Path, platform: str) -> Path:
    """A pack of the artifact, with what its README says to install."""
    write_pack(artifact, platform, out=out)
    if platform == "node":
        (out / "node_modules").symlink_to(node_modules())
    return out


def vectors(pack: Path, command: tuple[str, ...], *options: str) -> np.ndarray:
    return np.array(json.loads(run(pack, *command, "--embed", *options, text=json.dumps(TEXTS))))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=LONGEST)


@pytest.fixture(scope="module")
def artifacts(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One a target; onnx with vectors in int8, the others with bits."""
    out = tmp_path_factory.mktemp("artifacts")
    for target, stored in (("onnx", "int8"), ("openvino", "binary"), ("gguf", "binary")):
        options = {"layers": 2, "dim": 32, "targets": [target], "precisions": ["f32"], "vectors": stored}
        sliced(model, out / target, verify="off", **options)
    return out


@pytest.mark.parametrize(
    ("platform", "command", "target"),
    [("python", PYTHON, "onnx"), ("node", NODE, "onnx"), ("python", PYTHON, "openvino"), ("python", PYTHON, "gguf")],
)
def test_vectors_are_pythons(
    artifacts: Path, tmp_path: Path, platform: str, command: tuple[str, ...], target: str
) -> None:
    pack = packed(artifacts / target, tmp_path / "pack", platform)
    with open_artifact(artifacts / target) as reference:
        plain, asked = reference.embed(TEXTS), reference.embed(TEXTS, query=True)
        stored = reference.store(plain)
    found = vectors(pack, command)
    assert (found * plain).sum(axis=1).min() >= COSINE
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    queries = vectors(pack, command, "--query")
    assert (queries * asked).sum(axis=1).min() >= COSINE
    # The prompt makes a difference
    assert (queries * plain).sum(axis=1).max() < COSINE
    codes = vectors(pack, command, "--stored")
    assert codes.shape == stored.shape
    if target == "onnx":
        # A number between two codes may be rounded to the other one
        assert np.abs(codes - stored.astype(int)).max() <= 1
        assert (codes != stored).mean() < 0.01
    else:
        # A number next to zero may have another sign
        bits = np.unpackbits(codes.astype(np.uint8) ^ stored, axis=1)
        assert bits[np.abs(plain) > 1e-3].sum() == 0


def test_int8_codes_that_no_graph_gives_are_made_from_the_vectors(artifacts: Path, tmp_path: Path) -> None:
    pack = packed(artifacts / "gguf", tmp_path / "pack", "python")
    facts = json.loads((pack / "model" / "model.json").read_text(encoding="utf-8"))
    facts["vectors"] = {"precision": "int8", "range": 0.3, "output": None}
    (pack / "model" / "model.json").write_text(json.dumps(facts), encoding="utf-8")
    found = vectors(pack, PYTHON).astype(np.float32)
    assert np.abs(found).max() > 0.3
    assert np.array_equal(vectors(pack, PYTHON, "--stored"), to_int8(found, 0.3))


@pytest.mark.parametrize(("platform", "command"), [("python", PYTHON), ("node", NODE)])
def test_a_model_of_one_fixed_shape_is_fed_in_it(
    model: Path, tmp_path: Path, platform: str, command: tuple[str, ...]
) -> None:
    options = {"layers": 2, "dim": 32, "targets": ["onnx"], "precisions": ["f32"], "static": "2x32"}
    sliced(model, tmp_path / "a", verify="off", **options)
    pack = packed(tmp_path / "a", tmp_path / "pack", platform)
    with open_artifact(tmp_path / "a") as reference:
        expected = reference.embed(TEXTS)
    assert (vectors(pack, command) * expected).sum(axis=1).min() >= COSINE


@pytest.mark.parametrize(
    ("platform", "command", "target", "precision"),
    [("python", PYTHON, "gguf", "int8"), ("node", NODE, "onnx", "int8")],
)
def test_a_search_finds_what_is_meant(
    tmp_path: Path, platform: str, command: tuple[str, ...], target: str, precision: str
) -> None:
    options = {"layers": 8, "dim": 128, "targets": [target], "precisions": [precision]}
    sliced(Path("demo"), tmp_path / "a", verify="off", **options)
    pack = packed(tmp_path / "a", tmp_path / "pack", platform)
    lines = run(pack, *command, "gioco di scacchi", "音楽").splitlines()
    assert len(lines) == 2 * (1 + 3)
    assert lines[0] == "gioco di scacchi"
    assert {line[9:] for line in lines[1:3]} == {
        "A chess game for one or two players",
        "Un jeu d'échecs contre l'ordinateur",
    }
    assert "音楽" in "".join(lines[5:7])
    scores = [float(line[2:7]) for line in lines[1:4]]
    assert scores == sorted(scores, reverse=True)
