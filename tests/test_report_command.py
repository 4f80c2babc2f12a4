"""`mlexport report`: what it writes, refuses and needs."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlexport.cli import main
from mlexport.report import publish
from tests import latency_files as files

# As in an install without the extra: importing any of these fails
_WITHOUT = (
    "import sys; sys.modules.update(dict.fromkeys({names!r})); from mlexport.cli import main; main({arguments!r})"
)
_HEAVY = ("torch", "transformers", "sentence_transformers", "safetensors", "onnxruntime", "openvino", "llama_cpp")


@pytest.fixture
def results(tmp_path: Path) -> list[str]:
    """Files: one measured, one estimated."""
    few = {"count": 2, "lengths": (16, 128)}
    measured = files.write(files.bench(**few), tmp_path / "bench.json")  # type: ignore[arg-type]
    estimated = files.write(files.estimate("pixel-8-cpu", "intel-npu", **few), tmp_path / "estimate.json")  # type: ignore[arg-type]
    return [str(measured), str(estimated)]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def without(names: tuple[str, ...], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own that cannot import these."""
    code = _WITHOUT.format(names=names, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_every_form_is_written_at_once(results: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outs = [tmp_path / f"report{suffix}" for suffix in publish.FORMS]
    arguments = [part for out in outs for part in ("--out", str(out))]
    code, told, _ = run(["report", *results, *arguments, "--title", "Phones <&>"], capsys)
    assert code == 0
    html, markdown, table, data = (out.read_text(encoding="utf-8") for out in outs)
    assert "<h1>Phones &lt;&amp;&gt;</h1>" in html
    assert "Pixel 8 · Tensor G3" in html
    assert markdown.startswith("# Phones &lt;&amp;&gt;\n")
    assert {row["kind"] for row in csv.DictReader(table.splitlines())} == {"measured", "estimated"}
    assert [source["file"] for source in json.loads(data)["sources"]] == ["bench.json", "estimate.json"]
    assert "measured" in told
    assert "estimated" in told
    assert "REFUSED       intel-npu, L12-D256 onnx f32 and L12-D256 onnx int8: the NPU needs fixed shapes" in told
    assert f"written       {outs[0]}" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["bench.json", "estimate.json", *(out.name for out in outs)]
    )


def test_without_out_it_prints_and_says_what_next(results: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = run(["report", *results], capsys)
    assert code == 0
    assert "next          the same with --out report.html" in told
    code, told, _ = run(["report", *results, "--json", "--tokens", "16", "--min-retention", "0.999"], capsys)
    data = json.loads(told)
    assert data["reference_tokens"] == {"local": 16, "pixel-8-cpu": 16}
    assert data["recommended"][0]["artifact"] == "L12-D256 onnx f32"


def test_the_light_forms_need_neither_the_extra_nor_a_runtime(results: list[str], tmp_path: Path) -> None:
    outs = [tmp_path / f"report{suffix}" for suffix in (".md", ".csv", ".json")]
    arguments = [part for out in outs for part in ("--out", str(out))]
    done = without(("matplotlib", "jinja2", "markupsafe", *_HEAVY), ["report", *results, *arguments])
    assert (done.returncode, done.stderr) == (0, "")
    assert all(out.stat().st_size > 1000 for out in outs)


def test_the_page_needs_no_runtime(results: list[str], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = without(_HEAVY, ["report", *results, "--out", str(out)])
    assert (done.returncode, done.stderr) == (0, "")
    assert out.stat().st_size > 10_000


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_the_page_without_its_libraries_names_the_pip_line(results: list[str], tmp_path: Path, missing: str) -> None:
    out = tmp_path / "report.html"
    done = without((missing,), ["report", *results, "--out", str(out)])
    line = f'error: a report as HTML needs {missing}, which is not installed: pip install "mlexport[report]"\n'
    assert (done.returncode, done.stderr) == (6, line)
    assert not out.exists()


def test_errors_are_a_line_and_leave_nothing(
    results: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = run(["report", *results, "--out", str(tmp_path / "report.pdf")], capsys)
    expected = "a report cannot be written as 'report.pdf': give a name that ends in .html, .md, .csv, .json"
    assert (code, told) == (2, f"error: {expected}\n")
    code, _, told = run(["report", *results, "--out", results[0]], capsys)
    assert (code, told) == (2, f"error: {results[0]} is one of the results: give --out another name\n")
    gone = tmp_path / "none" / "report.md"
    code, _, told = run(["report", *results, "--out", str(gone)], capsys)
    assert (code, told) == (4, f"error: {gone} cannot be written: No such file or directory\n")
    other = tmp_path / "other.json"
    other.write_text('{"kind": "shopping"}', encoding="utf-8")
    out = tmp_path / "report.csv"
    code, _, told = run(["report", str(other), "--out", str(out)], capsys)
    assert code == 2
    assert "other.json is not a result of `mlexport bench` or `mlexport estimate`" in told
    assert not out.exists()


def test_an_older_report_is_replaced(results: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.md"
    out.write_text("old", encoding="utf-8")
    assert run(["report", *results, "--out", str(out)], capsys)[0] == 0
    assert out.read_text(encoding="utf-8").startswith("# What runs how fast")


def test_the_wheel_carries_the_templates(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    root = Path(__file__).parent.parent
    builder = WheelBuilder(str(root))
    packed = {included.distribution_path for included in builder.recurse_included_files()}
    templates = {f"mlexport/report/templates/{path.name}" for path in (root / "mlexport/report/templates").iterdir()}
    assert len(templates) >= 5
    assert templates <= packed
