"""optimum-cli finds the command and runs it; a wheel carries it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.tiny import make_tiny

ROOT = Path(__file__).parent.parent


def optimum_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("optimum-cli")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_it_and_has_an_example() -> None:
    assert "mlexport" in optimum_cli("export", "--help").stdout
    shown = optimum_cli("export", "mlexport", "--help").stdout
    assert "Example: optimum-cli export mlexport -m" in shown
    assert "--table-precision" in shown


def test_it_writes_an_artifact_and_passes_errors_on(tmp_path: Path) -> None:
    model = make_tiny(tmp_path / "model")
    options = ("--layers", 2, "--dim", 16, "--target", "onnx", "--precision", "f32", "--verify", "off")
    done = optimum_cli("export", "mlexport", "-m", model, *options, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "mlexport.json").read_text(encoding="utf-8"))
    assert (manifest["spec"], manifest["target"], manifest["variants"][0]["precision"]) == ("L2-D16", "onnx", "f32")
    again = optimum_cli("export", "mlexport", "-m", model, *options, tmp_path / "out")
    assert again.returncode == 4
    assert again.stderr.splitlines()[-1].endswith("exists: choose another --out, or pass --force to replace it")


def test_a_wheel_carries_the_registration_and_the_data(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        registration = archive.read("optimum/commands/register/register_mlexport.py")
    assert registration == (ROOT / "mlexport" / "optimum_command.py").read_bytes()
    assert {"mlexport/data/demo/model.safetensors", "mlexport/data/evaluation/corpus.jsonl"} <= names
    assert {name.split("/")[0] for name in names} - {"mlexport", "optimum"} == {
        next(name.split("/")[0] for name in names if ".dist-info/" in name)
    }
