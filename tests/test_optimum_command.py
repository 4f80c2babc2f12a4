"""optimum-cli finds the command in a wheel, and runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.tiny import make_tiny

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the working tree, unpacked as an installer would."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def optimum_cli(installed: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from optimum.commands.optimum_cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_it_and_has_an_example(installed: Path) -> None:
    assert "mlexport" in optimum_cli(installed, "export", "--help").stdout
    shown = optimum_cli(installed, "export", "mlexport", "--help").stdout
    assert "Example: optimum-cli export mlexport -m" in shown
    assert "--table-precision" in shown


def test_it_writes_an_artifact_and_passes_errors_on(installed: Path, tmp_path: Path) -> None:
    model = make_tiny(tmp_path / "model")
    options = ("--layers", 2, "--dim", 16, "--target", "onnx", "--precision", "f32", "--verify", "off")
    done = optimum_cli(installed, "export", "mlexport", "-m", model, *options, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "mlexport.json").read_text(encoding="utf-8"))
    assert (manifest["spec"], manifest["target"], manifest["precision"]) == ("L2-D16", "onnx", "f32")
    again = optimum_cli(installed, "export", "mlexport", "-m", model, *options, tmp_path / "out")
    assert again.returncode == 4
    assert again.stderr.splitlines()[-1].endswith("exists: choose another --out, or pass --force to replace it")


def test_the_wheel_carries_the_demo_and_the_evaluation_set(installed: Path) -> None:
    data = installed / "mlexport" / "data"
    assert (data / "demo" / "model.safetensors").is_file()
    assert (data / "evaluation" / "corpus.jsonl").is_file()
    assert not (installed / "tests").exists()
