"""mlexport bench as a user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mlexport import cli, latency
from mlexport.latency import BenchResult
from mlexport.report.bench import milliseconds, show_bench
from tests.tiny import make_tiny
from tests.written import sliced


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    model = make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=32)
    out = tmp_path_factory.mktemp("artifacts")
    for target in ("onnx", "gguf"):
        sliced(model, out / target, targets=[target], precisions=["f32"], verify="off")
    return [str(out / "onnx"), str(out / "gguf")]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", *arguments])
    return int(ended.value.code or 0)


SHORT = ("--min-calls", "6", "--min-seconds", "0", "--rounds", "3", "--threads", "1")


@pytest.fixture(scope="module")
def result(artifacts: list[str], tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    """As `--out` wrote it."""
    out = tmp_path_factory.mktemp("result") / "result.json"
    assert run(*artifacts, "--tokens", "8,16", *SHORT, "--out", str(out)) == 0
    found = latency.read_latency(out)
    assert isinstance(found, BenchResult)
    return found


def shown(result: BenchResult) -> str:
    console = Console(file=StringIO(), width=110, markup=False, highlight=False, emoji=False)
    show_bench(console, result)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_table_names_what_was_measured(result: BenchResult) -> None:
    text = shown(result)
    assert text.startswith("measured on this machine, profile local\n")
    lines = text.splitlines()
    [head] = [line for line in lines if line.startswith("tokens ")]
    assert " ".join(head.split()) == "tokens artifact p50 ms p90 p99 tokens/s from text first load MB peak"
    place = lines.index(head)
    rows = [line.split() for line in lines[place + 1 : place + 5]]
    assert [row[:4] for row in rows if row[0].isdigit()] == [[n, "L3-D64", "onnx", "f32"] for n in ("8", "16")]
    # The median of the file, as it is printed
    first = sorted(result.runs[0].samples_ns)
    middle = (first[(len(first) - 1) // 2] + first[len(first) // 2]) / 2e6
    assert rows[0][4] == milliseconds(middle)
    assert "CPUExecutionProvider 100%" in text and "4 layers: cpu 100%" in text
    assert "times as long as L3-D64 onnx f32; 95% intervals over the rounds" in text
    assert all(len(line) <= 110 for line in lines[place : place + 5])


def test_noise_is_said(result: BenchResult) -> None:
    noisy = replace(result.runs[0], noise=("Other processes took 25% of the processor's time.",))
    text = shown(replace(result, runs=(noisy, *(replace(run, noise=()) for run in result.runs[1:])), trusted=False))
    assert "8 tokens, L3-D64 onnx f32: Other processes took 25% of the processor's time." in text
    assert "NOT TRUSTED" in text
    quiet = shown(replace(result, runs=tuple(replace(run, noise=()) for run in result.runs), trusted=True))
    assert "noise" not in quiet and "NOT TRUSTED" not in quiet


def test_one_artifact_has_no_ratio(result: BenchResult) -> None:
    alone = replace(result, subjects=result.subjects[:1], runs=result.runs[:1], ratios=())
    assert "times as long" not in shown(alone) and "artifact  " not in shown(alone)


def test_json_is_the_result(artifacts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(artifacts[0], "--tokens", "8", "--batch", "1,2", *SHORT, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "measured" and [one["batch"] for one in found["runs"]] == [1, 2]


def test_an_output_file_is_not_lost(artifacts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.json").write_text("mine")
    assert run(artifacts[0], "--out", str(tmp_path / "r.json")) == 4
    assert "r.json exists: choose another --out, or pass --force" in capsys.readouterr().err
    assert (tmp_path / "r.json").read_text() == "mine"
    assert run(artifacts[0], "--out", str(tmp_path / "no" / "r.json")) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--tokens", "many"], 2, "--tokens many: expected whole numbers, such as --tokens 1,8"),
        (["--option", "fast"], 2, "--option fast: expected KEY=VALUE"),
        (["--variant", "int3"], 7, "this artifact has no variant 'int3': choose from f32"),
        (["--profile", "pixel-8-cpo"], 2, "pixel-8 has no unit 'cpo'"),
        (
            ["--profile", "raspberry-pi-5"],
            10,
            "does not look like profile raspberry-pi-5-cpu (Raspberry Pi 5, BCM2712)",
        ),
        (["--provider", "cuda"], 10, "ONNX Runtime has no CUDAExecutionProvider here"),
        (["--tokens", "999"], 2, "its limit is 32"),
    ],
)
def test_errors_are_one_line(
    artifacts: list[str], arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(artifacts[0], *arguments) == code
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_milliseconds_have_three_digits() -> None:
    values = {0.01234: "0.012", 0.5: "0.500", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 12345.6: "12,346"}
    assert {value: milliseconds(value) for value in values} == values
