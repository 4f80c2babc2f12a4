"""Device profiles: the shipped ones are whole and sourced, names lead to them, the commands show and copy them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from mlexport.cli import main
from mlexport.errors import DocumentError, UsageError
from mlexport.profile import DeviceProfile, Figure, Grade
from mlexport.profiles import (
    all_profiles,
    file_profiles,
    load_profile,
    profile_figures,
    profile_files,
    require_estimable,
)

ROOT = Path(__file__).parent.parent
PHONES = (
    *("snapdragon-8-gen-2", "snapdragon-8-gen-3", "snapdragon-8-elite", "snapdragon-8-elite-gen-5"),
    *("pixel-8", "pixel-9", "iphone-15-pro", "iphone-16", "dimensity-9400"),
)
LAPTOPS = ("core-ultra-155h", "core-ultra-200v", "ryzen-ai-9-hx-370", "snapdragon-x-elite", "apple-m4")
REQUIRED = {
    *(f"{device}-{unit}" for device in (*PHONES, *LAPTOPS) for unit in ("cpu", "gpu", "npu")),
    *("raspberry-pi-5-cpu", "jetson-orin-nano-gpu", "rtx-4060-laptop-gpu", "h200-gpu", "local", "intel-npu"),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def figures_in(model: BaseModel) -> list[Figure]:
    """Every figure of a file, wherever it stands."""
    found: list[Figure] = []
    for value in (getattr(model, name) for name in type(model).model_fields):
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]:
            if isinstance(one, Figure):
                found.append(one)
            elif isinstance(one, BaseModel):
                found += figures_in(one)
    return found


def test_the_devices_that_were_asked_for_are_there() -> None:
    assert len(profile_files()) >= 19
    assert REQUIRED - {profile.name for profile in all_profiles()} == set()


@pytest.mark.parametrize("path", profile_files().values(), ids=lambda path: path.stem)
def test_a_file_is_whole(path: Path) -> None:
    profiles = file_profiles(path)
    for profile in profiles:
        unit = profile.unit
        static = unit.kind == "npu"
        assert unit.shapes == ("static" if static else "dynamic")
        if not unit.effective:
            assert profile.name == "local"
            continue
        assert unit.overhead_ms is not None
        assert unit.bandwidth_gb_s or profile.device.memory.bandwidth_gb_s
        for runtime in unit.runtimes:
            for precision in runtime.precisions:
                names = {precision, f"{runtime.name}/{precision}"}
                assert names & set(unit.effective), f"{profile.name}: {runtime.name} has no throughput in {precision}"
    # The command that runs it opens the file
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert re.search(r": mlexport (bench|estimate|slice) ", first)
    named = re.search(r"--profile (\S+)", first)
    assert named
    assert load_profile(named[1]) in profiles


@pytest.mark.parametrize("path", profile_files().values(), ids=lambda path: path.stem)
def test_every_figure_says_where_it_is_from(path: Path) -> None:
    figures = figures_in(file_profiles(path)[0].device)
    assert len(figures) >= 5 or path.stem == "local"
    for figure in figures:
        assert len(figure.source) > 5
        if figure.grade is Grade.DERIVED:
            assert any(character.isdigit() for character in figure.source), f"{figure.source}: no arithmetic"


def test_an_assumed_throughput_is_a_range() -> None:
    figures = [
        one for profile in all_profiles() for one in profile_figures(profile) if one.name.startswith("effective")
    ]
    assumed = [one.figure for one in figures if one.figure.grade is Grade.ASSUMED]
    assert len(assumed) > 50
    for figure in assumed:
        assert figure.low is not None
        assert figure.high is not None
        assert figure.high / figure.low >= 1.5


def test_the_npus_throughputs_are_those_of_the_published_latencies() -> None:
    """BERT-base, 12 layers of 768 and 3,072, at 384 tokens: 2 operations a weight and token, and attention's two."""
    weights = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    operations = 2 * weights * 384 + 12 * 2 * 2 * 384 * 384 * 768
    published = {"8-gen-2": 22.5, "8-gen-3": 17.0, "8-elite": 12.0, "8-elite-gen-5": 9.51, "x-elite": 22.5}
    for name, ms in published.items():
        reached = load_profile(f"snapdragon-{name}-npu").unit.effective["f16"]
        assert reached.low is not None
        assert reached.high is not None
        assert reached.low * 0.97 <= operations / ms / 1e9 <= reached.high * 1.03


def test_names_and_paths(tmp_path: Path) -> None:
    assert load_profile("pixel-8-cpu").unit.kind == "cpu"
    assert load_profile("h200").name == load_profile("h200-gpu").name == "h200-gpu"
    assert load_profile("local").name == load_profile("local-cpu").name == "local"
    copy = tmp_path / "my phone: 8.yaml"
    copy.write_bytes(profile_files()["pixel-8"].read_bytes())
    assert load_profile(f"{copy}:npu").name == "my phone: 8-npu"
    single = tmp_path / "one.yml"
    single.write_bytes(profile_files()["h200"].read_bytes())
    assert load_profile(str(single)).name == "one-gpu"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pixel-8", "profile 'pixel-8' has several units (cpu, gpu, npu): choose one of "
         "pixel-8-cpu, pixel-8-gpu, pixel-8-npu"),
        ("pixel-8-tpu", "profile 'pixel-8-tpu': pixel-8 has no unit 'tpu' (it has: cpu, gpu, npu)"),
        ("h100", "no profile 'h100': the nearest are h200, h200-gpu; `mlexport profiles ls` lists them, "
         "and a path must end in .yaml"),
        ("", "no profile '': `mlexport profiles ls` lists them, and a path must end in .yaml"),
        ("none.yaml", "none.yaml: cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_a_name_that_leads_nowhere(name: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_profile(name)
    assert str(raised.value) == said


def test_a_profile_without_throughput_can_be_measured_but_not_estimated() -> None:
    local = load_profile("local")
    without = "has no effective throughput, so nothing can be estimated for it: "
    with pytest.raises(UsageError) as raised:
        require_estimable(local)
    assert str(raised.value) == (
        f"profile local {without}`mlexport calibrate-device` writes a profile of this machine that has it"
    )
    device = local.device.model_copy(update={"form": "board"})
    with pytest.raises(UsageError) as raised:
        require_estimable(local.model_copy(update={"name": "mine-cpu", "device": device}))
    assert str(raised.value) == (
        f"profile mine-cpu {without}measure with `mlexport bench`, or add figures under `effective` in a copy "
        "(mlexport profiles cp)"
    )
    require_estimable(load_profile("h200"))


def test_what_a_file_may_not_say(tmp_path: Path) -> None:
    data = yaml.safe_load(profile_files()["h200"].read_text(encoding="utf-8"))
    unit = data["units"]["gpu"]
    unit["peak"]["f8"] = dict(unit["peak"]["f16"])
    unit["effective"]["tensorrt/f16"] = dict(unit["effective"]["f16"])
    unit["effective"]["f16"] |= {"low": 500, "high": 300}
    unit["effective"]["bf16"].pop("source")
    unit["runtimes"][0]["targets"] = ["tflite"]
    unit["overhead_ms"]["value"] = 0
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    with pytest.raises(DocumentError) as raised:
        file_profiles(path)
    said = [problem.split(": ", 1)[1] for problem in raised.value.problems]
    assert len(said) == 6
    for words in (
        "'units.gpu.runtimes[0].targets[0]': input should be 'gguf', 'hf', 'onnx', 'openvino' or 'qnn', got 'tflite'",
        "missing key 'units.gpu.effective.bf16.source'",
        "'units.gpu.effective.f16': low 500.0, value 400.0 and high 300.0 are not in this order",
        "'units.gpu.overhead_ms.value': input should be greater than 0, got 0",
    ):
        assert words in said
    assert any(one.startswith("'units.gpu.effective.tensorrt/f16': expected a precision (f32, f16") for one in said)
    data = yaml.safe_load(profile_files()["h200"].read_text(encoding="utf-8"))
    data["units"] = {"npu": data["units"]["gpu"]}
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    with pytest.raises(DocumentError, match=r"bad.yaml:1: 'units.npu' is of kind gpu$"):
        file_profiles(path)


def test_the_list_fits_110_columns_and_json_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "profiles", "ls")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 110
    # A row each: nothing is folded
    assert len(lines) == 1 + len(all_profiles()) + 2
    code, out, _ = run(capsys, "profiles", "ls", "--json")
    rows = json.loads(out)
    assert {row["name"] for row in rows} == {profile.name for profile in all_profiles()}
    [local] = [row for row in rows if row["name"] == "local"]
    assert (local["can_be_estimated"], local["targets"]) == (False, ["onnx", "openvino", "gguf", "hf"])


@pytest.mark.parametrize("profile", all_profiles(), ids=lambda profile: profile.name)
def test_show_prints_every_figure(profile: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "profiles", "show", profile.name)
    assert code == 0
    assert all(len(row) <= 110 for row in out.split("\nlimit ")[0].split("\nnote ")[0].splitlines())
    for one in profile_figures(profile):
        assert one.unit in out
        assert one.figure.grade in out
    for warning in profile.unit.limits.warnings:
        assert warning in out
    code, out, _ = run(capsys, "profiles", "show", profile.name, "--json")
    data = json.loads(out)
    assert [one["source"] for one in data["figures"]] == [one.figure.source for one in profile_figures(profile)]
    assert data["unit"]["runtimes"][0]["targets"] == list(profile.unit.runtimes[0].targets)


def test_cp_writes_a_copy_that_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    code, out, _ = run(capsys, "profiles", "cp", "pixel-8-npu", mine)
    assert (code, mine.read_bytes()) == (0, profile_files()["pixel-8"].read_bytes())
    assert "units: cpu, gpu, npu" in out
    assert run(capsys, "profiles", "show", f"{mine}:gpu")[0] == 0
    code, _, err = run(capsys, "profiles", "cp", "h200", mine)
    assert (code, err) == (4, f"error: {mine} exists: choose another file, or pass --force to replace it\n")
    code, out, _ = run(capsys, "profiles", "cp", "h200", mine, "--force", "--json")
    assert json.loads(out) == {"written": str(mine), "units": ["gpu"]}
    code, _, err = run(capsys, "profiles", "cp", "h200", tmp_path / "mine.txt")
    assert (code, "does not end in .yaml" in err) == (2, True)
    code, _, err = run(capsys, "profiles", "cp", "h200", tmp_path / "no" / "mine.yaml")
    assert (code, "cannot be written: No such file or directory" in err) == (4, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_errors_of_a_users_file_are_all_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("device: x\nform: toaster\nunits: {}\n", encoding="utf-8")
    code, _, err = run(capsys, "profiles", "show", mine)
    assert code == 2
    assert err.splitlines() == [
        f"error: {mine} has 3 errors",
        f"  {mine}:1: missing key 'chip'",
        f"  {mine}:2: 'form': input should be 'phone', 'laptop', 'board', 'desktop', 'server', 'this machine' or "
        "'any', got 'toaster'",
        f"  {mine}:3: 'units': dictionary should have at least 1 item after validation, not 0",
    ]


def test_the_schema_is_that_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "profiles", "schema")
    assert code == 0
    assert json.loads(out) == DeviceProfile.model_json_schema()
    figure = json.loads(out)["$defs"]["Figure"]
    assert figure["required"] == ["value", "source", "grade"]
    assert figure["properties"]["source"]["description"].startswith("Where it is from")


def test_profiles_are_found_in_a_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "from mlexport.profiles import *; import mlexport; print(mlexport.__file__, len(all_profiles()))"
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "site" / "mlexport" / "__init__.py"), str(len(all_profiles()))]


def test_the_page_of_devices_is_up_to_date() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import generate_devices; "
    code += "from mlexport.profiles import all_profiles; sys.stdout.write(generate_devices.page(all_profiles()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == (ROOT / "docs" / "devices.md").read_text(encoding="utf-8"), "run `make docs`"
