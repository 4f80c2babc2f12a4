"""A pack's files, manifest, licences and refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlexport.artifact import MANIFEST, manifest_json, read_artifact, sha256
from mlexport.cli import main
from mlexport.errors import ArtifactError, ExportError, UsageError
from mlexport.licence import LICENCE, Licence, carry_licence, find_licence, read_licence
from mlexport.pack import PLATFORM_NAMES, check_pack, write_pack
from mlexport.pack.platform import find_platform
from mlexport.pack.write import SAMPLES
from mlexport.spec import Target
from tests.manifests import make_artifact
from tests.packs import node_modules


def changed(artifact: Path, **changes: Any) -> Path:
    """The artifact with another manifest."""
    manifest = replace(read_artifact(artifact).manifest, **changes)
    (artifact / MANIFEST).write_text(manifest_json(manifest), encoding="utf-8")
    return artifact


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "model").folder


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    folder = tmp_path / "graph"
    made = make_artifact(folder).manifest
    variants = tuple(
        replace(made.variants[0], precision=name, model_file=f"onnx/{file}")
        for name, file in (("f32", "model.onnx"), ("int4_b32", "model_q4.onnx"))
    )
    (folder / "onnx").mkdir()
    contents = {
        "onnx/model.onnx": b"a",
        "onnx/model.onnx_data": b"bb",
        "onnx/model_q4.onnx": b"ccc",
        "tokenizer.json": b"{}",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    entries = tuple(
        replace(made.files[0], path=name, bytes=len(content), sha256=sha256(folder / name))
        for name, content in contents.items()
    )
    return changed(folder, target="onnx", variants=variants, files=entries)


def test_every_file_is_listed_with_its_sha256(artifact: Path) -> None:
    before = {path: sha256(path) for path in artifact.rglob("*") if path.is_file()}
    result = write_pack(artifact, "python")
    folder = artifact.with_name("model-python")
    listed = json.loads((folder / "pack.json").read_text(encoding="utf-8"))["files"]
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(found) == {entry["path"] for entry in listed} | {"pack.json"}
    assert all(sha256(found[entry["path"]]) == entry["sha256"] for entry in listed)
    assert result.check.folder == folder
    assert result.check.unlisted == ()
    assert (folder / "model" / "model.gguf").read_bytes() == b"weights"
    assert (folder / "LICENSE-mlexport.txt").read_text(encoding="utf-8").strip().startswith("Apache License")
    assert before == {path: sha256(path) for path in artifact.rglob("*") if path.is_file()}


def test_the_app_reads_prompts_and_limits_at_run_time(artifact: Path) -> None:
    write_pack(artifact, "python")
    facts = json.loads((artifact.with_name("model-python") / "model" / "model.json").read_text(encoding="utf-8"))
    assert facts["prompts"] == {"query": "q "}
    assert facts["tokens"] == {"max_length": 8, "end_id": 1, "end_token": "<e>", "pad_id": 0}
    assert (facts["file"], facts["bytes"], facts["dim"], facts["cut"]) == ("model.gguf", 7, 8, "L1-D8")
    assert facts["vectors"] == {"precision": "f32", "range": None, "output": None}


def test_data_beside_a_model_file_goes_along_and_another_variant_does_not(onnx: Path) -> None:
    write_pack(onnx, "node", out=onnx.with_name("first"))
    assert {path.name for path in (onnx.with_name("first") / "model").iterdir()} == {
        "model.json",
        "model.onnx",
        "model.onnx_data",
        "tokenizer.json",
    }
    result = write_pack(onnx, "node", out=onnx.with_name("second"), variant="int4_b32")
    assert (result.facts.file, result.facts.bytes) == ("model_q4.onnx", 3)
    assert not (onnx.with_name("second") / "model" / "model.onnx").exists()


@pytest.mark.parametrize("platform", ["web", "node"])
def test_what_a_platform_cannot_run_is_refused_with_the_command_that_makes_it(artifact: Path, platform: str) -> None:
    with pytest.raises(UsageError) as refused:
        write_pack(artifact, platform)
    command = "mlexport slice --model tiny --layers 1 --dim 8 --target onnx"
    assert str(refused.value) == f"{platform} runs onnx, the artifact is gguf f32: make one with `{command}`"
    assert not artifact.with_name(f"model-{platform}").exists()


def test_a_graph_for_a_phone_must_take_text(onnx: Path) -> None:
    command = "mlexport slice --model tiny --layers 1 --dim 8 --target onnx --precision f32 --text-in"
    with pytest.raises(UsageError) as refused:
        write_pack(onnx, "android")
    wanted = "android runs onnx with --text-in or gguf, the artifact is onnx f32, int4_b32"
    assert str(refused.value) == f"{wanted}: make one with `{command}`"


def test_of_several_variants_the_first_that_runs_is_packed(onnx: Path) -> None:
    first, second = read_artifact(onnx).manifest.variants
    changed(onnx, variants=(first, replace(second, takes="text")))
    assert write_pack(onnx, "android").facts.file == "model_q4.onnx"
    with pytest.raises(UsageError, match="choose --variant f32, or leave it out"):
        write_pack(onnx, "web", variant="int4_b32-text")
    with pytest.raises(ArtifactError, match="has no variant 'int8'"):
        write_pack(onnx, "web", variant="int8")


def test_hf_is_for_no_platform(artifact: Path) -> None:
    changed(artifact, target="hf")
    for platform in PLATFORM_NAMES:
        with pytest.raises(UsageError, match=f"^{platform} runs .* the artifact is hf f32: make one with"):
            write_pack(artifact, platform)


def test_a_folder_that_exists_is_kept(artifact: Path) -> None:
    target = artifact.with_name("model-python")
    write_pack(artifact, "python")
    (target / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ExportError, match="exists: choose another --out, or pass --force to replace it"):
        write_pack(artifact, "python")
    assert check_pack(target).unlisted == ("mine.txt",)
    write_pack(artifact, "python", force=True)
    assert check_pack(target).unlisted == ()
    # --force is no licence to remove what is no pack
    with pytest.raises(ExportError, match="exists and is not a pack"):
        write_pack(artifact, "python", out=artifact, force=True)
    assert read_artifact(artifact)


def test_a_failure_leaves_nothing_beside(artifact: Path) -> None:
    (artifact / "model.gguf").write_bytes(b"WEIGHTS")
    before = sorted(path.name for path in artifact.parent.iterdir())
    with pytest.raises(ArtifactError, match="changed since it was written: its sha256 is not the manifest's"):
        write_pack(artifact, "python")
    assert sorted(path.name for path in artifact.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda pack: (pack / "search.py").write_text("other", encoding="utf-8"),
            "search.py changed since it was packed",
        ),
        (lambda pack: (pack / "model" / "model.gguf").unlink(), "model.gguf is missing: the pack is incomplete"),
        (lambda pack: (pack / "pack.json").unlink(), "is not a pack: it has no pack.json"),
        (lambda pack: (pack / "pack.json").write_text("[1]", encoding="utf-8"), "has format_version None"),
        (lambda pack: (pack / "pack.json").write_text("{", encoding="utf-8"), "cannot be read"),
    ],
)
def test_a_damaged_pack_is_found(artifact: Path, damage: Any, message: str) -> None:
    write_pack(artifact, "python")
    pack = artifact.with_name("model-python")
    damage(pack)
    with pytest.raises(ArtifactError, match=message):
        check_pack(pack)


def test_nothing_outside_the_folder_is_named(artifact: Path) -> None:
    pack = artifact.with_name("model-python")
    for outside in ("../model/model.gguf", str(artifact / "model.gguf"), "link"):
        write_pack(artifact, "python", force=True)
        (pack / "link").symlink_to(artifact / "model.gguf")
        manifest = json.loads((pack / "pack.json").read_text(encoding="utf-8"))
        manifest["files"].append({"path": outside, "bytes": 7, "sha256": sha256(artifact / "model.gguf")})
        (pack / "pack.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(ArtifactError, match="names a file outside its folder"):
            check_pack(pack)


def test_the_runtime_is_copied_in_the_versions_that_the_sample_names(onnx: Path, tmp_path: Path) -> None:
    result = write_pack(onnx, "web", runtime=node_modules())
    pack = onnx.with_name("graph-web")
    assert result.check.manifest.carried
    for package, files in find_platform("web").runtime_files.items():
        assert all((pack / "node_modules" / package / file).is_file() for file in files)
    other = tmp_path / "other"
    shutil.copytree(pack / "node_modules", other)
    described = other / "onnxruntime-web" / "package.json"
    described.write_text(json.dumps({"version": "1.2.3"}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"has version 1\.2\.3, the sample needs 1\.30\.0: run `npm install"):
        write_pack(onnx, "web", runtime=other, force=True)
    with pytest.raises(UsageError, match="is not there: run `npm install"):
        write_pack(onnx, "web", runtime=tmp_path / "nowhere", force=True)
    with pytest.raises(UsageError, match="--runtime is for web alone"):
        write_pack(onnx, "node", runtime=node_modules())


def test_versions_stand_in_the_samples_as_in_the_manifest() -> None:
    """A sample's own list of dependencies is a file of data: it must not drift from what pack.json says."""
    kits = [kit for name in PLATFORM_NAMES for kit in find_platform(name).kits]
    assert len(kits) >= 8
    for kit in kits:
        files = [path for folder in kit.samples for path in (SAMPLES / folder).rglob("*") if path.is_file()]
        names = {path.name for path in files}
        assert "README.md" in names
        if "package.json" in names:
            [described] = [path for path in files if path.name == "package.json"]
            assert json.loads(described.read_text(encoding="utf-8"))["dependencies"] == kit.runtime
            continue
        if "requirements.txt" in names:
            [listed] = [path for path in files if path.name == "requirements.txt"]
            assert listed.read_text(encoding="utf-8").split() == sorted(f"{k}{v}" for k, v in kit.runtime.items())
            continue
        build = "\n".join(p.read_text(encoding="utf-8") for p in files if p.suffix in (".kts", ".txt", ".swift"))
        for package, version in kit.runtime.items():
            assert package.rsplit("/", 1)[-1] in build
            assert version in build


def test_no_two_folders_of_a_kit_hold_the_same_file() -> None:
    for name in PLATFORM_NAMES:
        for kit in find_platform(name).kits:
            parts = [SAMPLES / folder for folder in kit.samples]
            files = [path.relative_to(part) for part in parts for path in part.rglob("*") if path.is_file()]
            assert len(files) == len(set(files)) > 0


def test_a_model_over_a_browsers_limits_is_refused_or_noted(onnx: Path) -> None:
    manifest = read_artifact(onnx).manifest
    first, row = manifest.variants[0], manifest.variants[0].plan[0]
    table = replace(row, name="embed_tokens.weight", shape=(151_936, 1024), bytes=151_936 * 1024 * 4)
    changed(onnx, variants=(replace(first, plan=(row, table)),))
    [note] = [n for n in write_pack(onnx, "web").check.manifest.notes if "WebGPU" in n]
    assert note.startswith("embed_tokens.weight [151936, 1024] takes 622,329,856 bytes")
    with (onnx / "onnx" / "model.onnx_data").open("r+b") as file:
        file.truncate(2**31)
    files = (replace(e, bytes=2**31) if e.path.endswith("_data") else e for e in manifest.files)
    changed_manifest = replace(manifest, files=tuple(files))
    (onnx / MANIFEST).write_text(manifest_json(changed_manifest), encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"web loads a model of at most 2,130,706,432 bytes, model\.onnx has 2,147,483,649"
    ):
        write_pack(onnx, "web", force=True)


CARD = "---\nlanguage:\n- en\nlicense: {}\n---\n# A model\n"


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (CARD.format("apache-2.0"), Licence(name="apache-2.0")),
        (CARD.format("other\nlicense_name: tongyi\nlicense_link: LICENSE"), Licence(name="tongyi", link="LICENSE")),
        (CARD.format("[a, b]"), Licence()),
        ("# no head\nlicense: mit\n", Licence()),
        ("---\nlicense: mit\n", Licence()),
        ("---\n{: [\n---\n", Licence()),
    ],
)
def test_the_licence_is_what_the_checkpoints_card_says(tmp_path: Path, card: str, expected: Licence) -> None:
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert find_licence(tmp_path) == expected


def test_the_licence_goes_with_the_artifact_and_into_the_pack(artifact: Path, tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    (source / "README.md").write_text(CARD.format("mit"), encoding="utf-8")
    (source / "LICENSE").write_text("the text", encoding="utf-8")
    carry_licence(source, artifact)
    assert read_licence(artifact) == Licence(name="mit", files=("LICENSE",))
    manifest = write_pack(artifact, "ios").check.manifest
    assert manifest.licence == Licence(name="mit", files=("LICENSE",))
    assert (artifact.with_name("model-ios") / "model" / "LICENSE").read_text(encoding="utf-8") == "the text"
    (artifact / "LICENSE").unlink()
    with pytest.raises(ArtifactError, match="names a file that is not beside it"):
        read_licence(artifact)


def test_an_unknown_licence_is_said_to_be_unknown(artifact: Path, tmp_path: Path) -> None:
    carry_licence(tmp_path / "empty", artifact)
    assert not (artifact / LICENCE).exists()
    manifest = write_pack(artifact, "android").check.manifest
    assert manifest.licence.words == "unknown"
    assert "the checkpoint tiny names no licence: ask its authors before you ship it" in manifest.notes


def test_no_path_of_this_machine_goes_along(artifact: Path) -> None:
    changed(artifact, source=str(artifact.resolve()))
    write_pack(artifact, "python")
    pack = artifact.with_name("model-python")
    for name in ("pack.json", "model/model.json"):
        assert str(artifact.resolve()) not in (pack / name).read_text(encoding="utf-8")


def test_the_command_packs_and_checks(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return int(ended.value.code or 0), found.out, found.err

    pack = artifact.with_name("p")
    code, out, _ = run("pack", artifact, "--for", "python", "--out", pack)
    assert code == 0
    assert out.splitlines()[0] == "tiny L1-D8 → python · gguf f32"
    assert f"cd {pack} && pip install -r requirements.txt" in out
    code, out, _ = run("pack", pack, "--check", "--json")
    assert (code, json.loads(out)["platform"]) == (0, "python")
    (pack / "search.py").write_text("", encoding="utf-8")
    code, _, err = run("pack", pack, "--check")
    assert (code, err.count("\n")) == (ArtifactError.exit_code, 1)
    code, _, err = run("pack", artifact)
    assert (code, err) == (2, "error: no platform: pass --for android, ios, node, python, web\n")
    code, _, err = run("pack", artifact, "--for", "windows")
    assert (code, err) == (2, "error: unknown platform 'windows': choose from android, ios, node, python, web\n")
    code, _, err = run("pack", pack, "--check", "--for", "web")
    assert (code, err) == (2, "error: --check takes the pack's folder alone: leave the other options out\n")


def test_each_target_of_apps_has_a_platform() -> None:
    assert {kit.target for name in PLATFORM_NAMES for kit in find_platform(name).kits} == set(Target) - {
        Target.HF,
        Target.QNN,
    }
