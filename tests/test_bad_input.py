"""Bad input at the command line: one line on standard error, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlexport.cli import main
from mlexport.commit import building
from tests.tiny import make_tiny

USAGE, CHECKPOINT, EXPORT, VERIFICATION, ARTIFACT = 2, 3, 4, 5, 7


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


def fails(capsys: pytest.CaptureFixture[str], code: int, arguments: Sequence[object]) -> str:
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (code, "")
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").rstrip("\n")


OPTIONS: dict[str, tuple[int, list[object], str]] = {
    "rank above r": (USAGE, ["--rank", 17], "rank 17 is outside this checkpoint's 1 to 16 (trained: 8, 16)"),
    "layers above L": (USAGE, ["--layers", 4], "layers 4 is outside this checkpoint's 1 to 3 (trained: 1, 2, 3)"),
    "dim above hidden": (USAGE, ["--dim", 65], "dim 65 is outside this checkpoint's 1 to 64 (trained: 8, 16, 32, 64)"),
    "untrained": (
        USAGE,
        ["--dim", 24],
        "dim 24 is not a trained cut (trained: 8, 16, 32, 64). Choose a trained one, or pass --allow-untrained",
    ),
    "no number": (USAGE, ["--layers", "two"], "Invalid value for '--layers': "),
    "precision": (
        USAGE,
        ["-p", "int3"],
        "precision 'int3' is not one of target gguf: choose from int8, int4, f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_0",
    ),
    "table precision": (USAGE, ["--table-precision", "q9"], "precision 'q9' is not one of target gguf"),
    "target": (USAGE, ["-t", "tflite"], "unknown target 'tflite': choose from hf, gguf, onnx, openvino"),
    "shape": (USAGE, ["-t", "onnx", "--static", "128"], "'128' is not a shape: expected BATCHxTOKENS with 2 tokens or"),
    "static gguf": (
        USAGE,
        ["--static", "1x64"],
        "--static is for targets onnx, openvino and qnn, not with target gguf",
    ),
    "static text": (
        USAGE,
        ["-t", "onnx", "--static", "1x8", "--text-in"],
        "onnx, openvino and qnn, not with --text-in",
    ),
    "no target": (USAGE, ["-t", ","], "no target: choose from hf, gguf, onnx, openvino"),
    "verification": (USAGE, ["--verify", "quick"], "unknown verification 'quick': choose from full, sample, off"),
    "unknown option": (USAGE, ["--layer", 2], "No such option: --layer"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_make_no_sense(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, options, message = OPTIONS[name]
    assert message in fails(capsys, code, ["slice", "-m", model, "--out", tmp_path / "o", *options])
    assert not any(tmp_path.iterdir())


def test_unknown_models(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("nowhere", "/nowhere", "../gone", "a/b/c", ""):
        expected = f"no checkpoint '{name}': expected demo, an existing folder, or a hub id OWNER/NAME"
        assert fails(capsys, CHECKPOINT, ["slice", "-m", name]) == expected
    (tmp_path / "file").touch()
    assert "file is a file: a checkpoint is a folder" in fails(capsys, CHECKPOINT, ["inspect", "file"])
    (tmp_path / "empty").mkdir()
    message = fails(capsys, CHECKPOINT, ["slice", "-m", "empty"])
    assert message == "empty/config.json is missing: not a complete checkpoint. Download it again"


class Runs:
    """What a malicious pickle does when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def rewrite_pickle(path: Path, data: bytes) -> None:
    """Replace data.pkl of a torch.save file."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, data if name.endswith("data.pkl") else content)


def remove_shard(folder: Path) -> None:
    sorted(folder.glob("model-*"))[0].unlink()


def cut_shard(folder: Path) -> None:
    path = sorted(folder.glob("model-*"))[-1]
    path.write_bytes(path.read_bytes()[:-100])


def spoil(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    for path in folder.glob("model-*.safetensors"):
        tensors = load_file(path)
        if "norm.weight" in tensors:
            change(tensors)
            save_file(tensors, path)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing shard": (remove_shard, "is missing: model.safetensors.index.json names it. Download it again"),
    "truncated shard": (cut_shard, "is truncated: "),
    "wrong shape": (
        lambda folder: spoil(folder, lambda tensors: tensors.update({"norm.weight": torch.ones(63)})),
        "'norm.weight' has the shape [63], config.json says [64]",
    ),
    "NaN": (
        lambda folder: spoil(folder, lambda tensors: tensors["norm.weight"].__setitem__(5, float("nan"))),
        "'norm.weight' holds a number that is NaN or infinite, first in row 5",
    ),
    "malicious pickle": (
        lambda folder: rewrite_pickle(folder / "U.pth", pickle.dumps(Runs(folder / "marker"))),
        "system, which a tensor needs not: nothing of it was run. Do not trust this checkpoint",
    ),
    "truncated U": (
        lambda folder: (folder / "U.pth").write_bytes((folder / "U.pth").read_bytes()[:5000]),
        "U.pth is truncated, or no file of torch.save since torch 1.6",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_checkpoints_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    damage, message = DAMAGES[name]
    folder = make_tiny(tmp_path / "model", sharded=True)
    damage(folder)
    arguments = ["slice", "-m", folder, "--rank", 8, "--out", tmp_path / "new" / "o"]
    assert message in fails(capsys, CHECKPOINT, arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (folder / "marker").exists()


def test_the_malicious_pickle_would_have_run(tmp_path: Path) -> None:
    """The test above can fail: Python's own unpickler runs it."""
    pickle.loads(pickle.dumps(Runs(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


def test_existing_targets_stay(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file, artifact = tmp_path / "folder", tmp_path / "file", tmp_path / "artifact"
    folder.mkdir()
    (folder / "letter.txt").touch()
    file.touch()
    arguments = ["slice", "-m", model, "--layers", 1, "--verify", "off", "--out"]
    with pytest.raises(SystemExit):
        main([str(argument) for argument in [*arguments, artifact]])
    capsys.readouterr()
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    ends = "exists: choose another --out, or pass --force to replace it"
    assert fails(capsys, EXPORT, [*arguments, artifact]) == f"{artifact} {ends}"
    assert "exists and is not an artifact" in fails(capsys, EXPORT, [*arguments, folder, "--force"])
    assert "exists and is a file" in fails(capsys, EXPORT, [*arguments, file, "--force"])
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_a_folder_where_nobody_can_write(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Read-only for every user, root too
    message = fails(capsys, EXPORT, ["slice", "-m", model, "--verify", "off", "--out", "/proc/mlexport/o"])
    assert message.startswith("cannot write /proc/mlexport/o: ")


def test_two_runs_into_one_target(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with building(tmp_path / "o", needed_bytes=1):
        message = fails(capsys, EXPORT, ["slice", "-m", model, "--verify", "off", "--out", tmp_path / "o"])
    assert message == f"another run is writing {tmp_path / 'o'}: wait for it, or choose another --out"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mlexport", *map(str, arguments)]


def limit_file_size() -> None:
    # A full disk for this process: writing fails in the middle of a file, as with ENOSPC
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))


@pytest.mark.parametrize("target", ["gguf", "hf"])
def test_a_disk_that_runs_full_leaves_nothing(model: Path, tmp_path: Path, target: str) -> None:
    arguments = command("slice", "-m", model, "-t", target, "-p", "f32", "--verify", "off", "--out", tmp_path / "o")
    done = subprocess.run(arguments, preexec_fn=limit_file_size, capture_output=True, text=True, check=False)
    assert done.returncode == EXPORT
    assert done.stderr.startswith(f"error: cannot write {tmp_path / 'o'}: ")
    assert "Make room, or choose another --out" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


def begin(model: Path, out: Path) -> subprocess.Popen[str]:
    """A run that has begun to write: its partial folder is there."""
    # The verification takes seconds: time to be stopped
    child = subprocess.Popen(command("slice", "-m", model, "--out", out), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(out.parent.glob("*.partial/*.gguf")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "error: interrupted: nothing half-written was kept\n"),
        (signal.SIGTERM, 143, "error: terminated: nothing half-written was kept\n"),
    ],
)
def test_an_interrupted_run_leaves_nothing(model: Path, tmp_path: Path, number: int, code: int, message: str) -> None:
    child = begin(model, tmp_path / "o")
    child.send_signal(number)
    _, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (code, message)
    assert not any(tmp_path.iterdir())


def test_a_killed_run_leaves_no_artifact_and_the_next_one_clears_up(model: Path, tmp_path: Path) -> None:
    child = begin(model, tmp_path / "o")
    child.kill()
    child.communicate(timeout=60)
    assert not (tmp_path / "o").exists()
    assert list(tmp_path.glob(".o.*.partial"))
    done = subprocess.run(
        command("slice", "-m", model, "--layers", 1, "--verify", "off", "--out", tmp_path / "o"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


def test_artifacts_that_are_none(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["embed", model, "a"], ["search", model, "a"], ["verify", model]):
        assert fails(capsys, ARTIFACT, arguments).startswith(f"{model} is not an artifact: it has no mlexport.json")
    message = fails(capsys, ARTIFACT, ["embed", tmp_path / "gone", "a"])
    assert message.startswith(f"{tmp_path / 'gone'} does not exist: expected the folder of an artifact")


def test_a_changed_model_file_is_found(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["slice", "-m", str(model), "--layers", "1", "--verify", "off", "--out", str(tmp_path / "o")])
    capsys.readouterr()
    [file] = (tmp_path / "o").glob("*.gguf")
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    assert "changed since it was written" in fails(capsys, ARTIFACT, ["verify", tmp_path / "o", "--mode", "off"])
    file.write_bytes(data[:1000])
    assert "has 1000 bytes, the manifest says" in fails(capsys, ARTIFACT, ["embed", tmp_path / "o", "a"])


def test_embed_and_search_without_anything_to_do(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(capsys, USAGE, ["embed", tmp_path]) == "no text: give texts, or --file FILE"
    assert "Missing argument" in fails(capsys, USAGE, ["search", tmp_path])
    assert "does not exist" in fails(capsys, USAGE, ["search", tmp_path, "q", "--corpus", tmp_path / "no.txt"])


def test_a_failed_verification_leaves_no_artifact(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlexport import verify

    # Nothing reaches a cosine of 1.1
    monkeypatch.setattr(verify, "threshold_for", lambda *_: verify.Threshold(mean=1.1, min=1.1))
    message = fails(capsys, VERIFICATION, ["slice", "-m", model, "--layers", 1, "--out", tmp_path / "o"])
    assert message.startswith(
        "verify failed for L1-D64 gguf q8_0 after load, cut, plan, write: cosine to the reference"
    )
    assert message.endswith("Nothing was kept")
    assert not any(tmp_path.iterdir())
