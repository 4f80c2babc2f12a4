"""OpenVINO IR against transformers, and what OpenVINO itself says of the file: constants, and how they are run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from transformers import AutoTokenizer

from mlexport.checkpoint import open_checkpoint
from mlexport.errors import ArtifactError
from mlexport.model import TABLE_LEFT, TABLE_RIGHT, SubModel
from mlexport.probes import PROBES, over_long
from mlexport.quantize.plan import plan_tensors
from mlexport.runtime.openvino import OpenVinoEmbedder
from mlexport.spec import PRECISIONS, SubModelSpec, Target
from tests.reference import hand_cut
from tests.test_export_onnx import padded
from tests.tiny import make_tiny
from tests.written import write_cut

MAX_LENGTH = 64
TEXTS = [probe.text for probe in PROBES] + [over_long(MAX_LENGTH).text]
NAMES = tuple(dict.fromkeys(PRECISIONS[Target.OPENVINO].values()))
LOWEST = {
    "f32": 0.99999,
    "f16": 0.9999,
    "int8_sym": 0.998,
    "int4_sym": 0.9,
    "int4_sym_b64": 0.88,
    "int4_sym_b128": 0.85,
}
FILE = "openvino/openvino_model.xml"


def write_ir(
    checkpoint: Path, out: Path, spec: str, precision: str = "f32", table: str | None = None
) -> tuple[SubModel, Path]:
    sub, file = write_cut(checkpoint, out, spec, target="openvino", precision=precision, table=table)
    assert file == out / FILE
    return sub, file


def constants(file: Path) -> Counter[str]:
    """Numbers in the IR's constants, by element type."""
    found: Counter[str] = Counter()
    for node in ov.Core().read_model(file).get_ops():
        if node.get_type_name() == "Constant":
            found[node.get_element_type().get_type_name()] += int(np.prod(list(node.get_output_shape(0))))
    return found


def matrices_as_run(file: Path) -> Counter[str]:
    """Fully connected nodes of the compiled model, by the type their weights have there."""
    compiled = ov.Core().compile_model(file, "CPU")
    nodes = compiled.get_runtime_model().get_ops()
    kinds = [node for node in nodes if node.get_rt_info()["layerType"].value == "FullyConnected"]
    return Counter(node.input(1).get_element_type().get_type_name() for node in kinds)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=MAX_LENGTH)


@pytest.mark.parametrize("name", ["L3-D64", "L2-R8-D16", "L1-R16-D8"])
@pytest.mark.parametrize("precision", NAMES)
def test_vectors_are_transformers(checkpoint: Path, tmp_path: Path, name: str, precision: str) -> None:
    spec = SubModelSpec.parse(name)
    sub, _ = write_ir(checkpoint, tmp_path / "o", name, precision)
    embedder = OpenVinoEmbedder(tmp_path / "o", FILE, sub.checkpoint.text, spec.dim)
    assert embedder.token_ids(TEXTS) == AutoTokenizer.from_pretrained(checkpoint)(TEXTS, truncation=True)["input_ids"]
    found = embedder.embed(TEXTS)
    alone = np.stack([embedder.embed([text])[0] for text in TEXTS])
    embedder.close()
    assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), spec.dim))
    expected = hand_cut(checkpoint, TEXTS, layers=spec.layers, rank=spec.rank, dim=spec.dim, max_length=MAX_LENGTH)
    for vectors in (found, alone):
        assert (vectors * expected).sum(axis=1).mean() >= LOWEST[precision]


@pytest.mark.parametrize("precision", NAMES)
def test_padding_on_either_side_and_one_token(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    sub, file = write_ir(checkpoint, tmp_path / "o", "L2-R16-D32", precision)
    compiled = ov.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    # The end token alone is what the empty text becomes
    texts = ["", *TEXTS]
    rows = AutoTokenizer.from_pretrained(checkpoint)(texts, truncation=True)["input_ids"]
    assert rows[0] == [sub.checkpoint.text.end_id]
    expected = hand_cut(checkpoint, texts, layers=2, rank=16, dim=32, max_length=MAX_LENGTH)
    for batch in (padded(rows, "left"), padded(rows, "right")):
        found = compiled(dict(zip(("input_ids", "attention_mask"), batch, strict=True)))["sentence_embedding"]
        cosines = (found * expected).sum(axis=1)
        assert cosines.mean() >= LOWEST[precision]
        if precision == "f32":
            assert cosines.min() >= 0.99999


@pytest.mark.parametrize("name", ["L3-D64", "L3-R16-D64"])
@pytest.mark.parametrize("precision", NAMES)
def test_the_bin_file_has_the_planned_bytes(checkpoint: Path, tmp_path: Path, name: str, precision: str) -> None:
    sub, file = write_ir(checkpoint, tmp_path / "o", name, precision)
    plan = plan_tensors(sub, Target.OPENVINO, precision, None)
    planned = sum(row.bytes for row in plan)
    # The graph's own constants; an equal norm is stored once
    norms = sum(row.bytes for row in plan if len(row.shape) == 1)
    assert planned - norms <= file.with_suffix(".bin").stat().st_size < planned + 4096


@pytest.mark.parametrize(("precision", "kind"), [("int8_sym", "i8"), ("int4_sym", "i4")])
def test_matrices_are_integers_in_the_file_and_where_they_run(
    checkpoint: Path, tmp_path: Path, precision: str, kind: str
) -> None:
    sub, file = write_ir(checkpoint, tmp_path / "o", "L2-D32", precision)
    matrices = [name for name, tensor in sub.tensors.items() if name.startswith("layers") and len(tensor.shape) == 2]
    assert constants(file)[kind] == sum(sub.tensors[name].size for name in matrices)
    assert matrices_as_run(file) == {kind: len(matrices)}


def test_int4_leaves_rows_that_32_does_not_divide_in_int8(tmp_path: Path) -> None:
    checkpoint = make_tiny(tmp_path / "model", mlp=80)
    sub, file = write_ir(checkpoint, tmp_path / "o", "L1-D64", "int4_sym")
    [row] = [row for row in plan_tensors(sub, Target.OPENVINO, "int4_sym", None) if "down_proj" in row.name]
    assert (row.scheme, row.bytes) == ("int8_sym", 64 * 80 + 64 * 2)
    assert row.reason == "precision int4_sym; rows of 80 are no multiple of 32: int8_sym"
    assert constants(file)["i8"] == 64 * 80
    embedder = OpenVinoEmbedder(tmp_path / "o", FILE, sub.checkpoint.text, 64)
    expected = hand_cut(checkpoint, TEXTS, layers=1, rank=None, dim=64, max_length=MAX_LENGTH)
    assert (embedder.embed(TEXTS) * expected).sum(axis=1).mean() >= LOWEST["int4_sym"]


@pytest.mark.parametrize(
    ("precisions", "kind", "share"),
    [
        (("int8_sym", None), "u8", 1),
        (("int4_sym", None), "u8", 1),
        (("f32", "int4_sym"), "u8", 2),
        (("f16", None), "f16", 1),
    ],
)
def test_the_table_is_not_restored_in_the_file(
    checkpoint: Path, tmp_path: Path, precisions: tuple[str, str | None], kind: str, share: int
) -> None:
    sub, file = write_ir(checkpoint, tmp_path / "o", "L1-D64", *precisions)
    numbers = sub.tensors["embed_tokens.weight"].size
    found = constants(file)
    assert found[kind] >= numbers // share
    # The rest are the layers' matrices, in f32 where the body is
    assert found["f32"] < numbers // 8


def test_a_rank_cut_keeps_two_factors(checkpoint: Path, tmp_path: Path) -> None:
    sub, file = write_ir(checkpoint, tmp_path / "o", "L1-R8-D64")
    assert sub.factors is not None
    plan = {row.name: row.shape for row in plan_tensors(sub, Target.OPENVINO, "f32", None)}
    vocabulary = sub.config.vocabulary
    assert (plan[TABLE_LEFT], plan[TABLE_RIGHT]) == ((vocabulary, 8), (8, 64))
    shapes = [
        list(node.get_output_shape(0))
        for node in ov.Core().read_model(file).get_ops()
        if node.get_type_name() == "Constant"
    ]
    assert [vocabulary, 8] in shapes
    assert [vocabulary, 64] not in shapes


def test_the_folder_holds_what_clients_read_and_nothing_else(checkpoint: Path, tmp_path: Path) -> None:
    write_ir(checkpoint, tmp_path / "o", "L1-D64")
    names = {path.relative_to(tmp_path / "o").as_posix() for path in (tmp_path / "o").rglob("*") if path.is_file()}
    assert names >= {FILE, FILE.replace(".xml", ".bin"), "config.json", "tokenizer.json", "modules.json"}
    assert not [name for name in names if "onnx" in name]
    prompts = json.loads((tmp_path / "o" / "config_sentence_transformers.json").read_text(encoding="utf-8"))["prompts"]
    assert prompts == dict(open_checkpoint(str(checkpoint)).text.prompts)


@pytest.mark.parametrize(("precision", "hint"), [("f32", "f32"), ("f16", "f32"), ("int8_sym", None)])
def test_floats_are_computed_in_f32_on_every_machine(
    checkpoint: Path, tmp_path: Path, precision: str, hint: str | None
) -> None:
    sub, _ = write_ir(checkpoint, tmp_path / "o", "L1-D64", precision)
    embedder = OpenVinoEmbedder(tmp_path / "o", FILE, sub.checkpoint.text, 64)
    default = ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    expected = default if hint is None else ov.Type.f32
    assert embedder.compiled.get_property("INFERENCE_PRECISION_HINT") == expected


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        (".xml", None, "cannot be read: No such file or directory"),
        (".xml", b"", "is no OpenVINO IR: it does not start as XML does"),
        (".xml", b"hello", "is no OpenVINO IR: it does not start as XML does"),
        (".xml", b"<?xml version='1.0'?><net>", "is refused by OpenVINO: "),
        (".bin", None, "is refused by OpenVINO: Empty weights data in bin file or bin file cannot be found!"),
        (".bin", b"\0" * 64, "is refused by OpenVINO: Incorrect weights in bin file!"),
    ],
)
def test_damage_is_one_line(checkpoint: Path, tmp_path: Path, suffix: str, content: bytes | None, reason: str) -> None:
    sub, file = write_ir(checkpoint, tmp_path / "o", "L1-D64", "int8_sym")
    damaged = file.with_suffix(suffix)
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        OpenVinoEmbedder(tmp_path / "o", FILE, sub.checkpoint.text, 64)
    assert str(caught.value).startswith(f"{file} {reason}")
    assert "\n" not in str(caught.value)
