"""Measuring on Android: an `adb` of the test's own runs what it is told on this machine, in a folder of the test's."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mlexport.bench import BenchRequest, Contestant, Settings
from mlexport.bench.adb import AdbPlace, measure_over_adb, parse_adb
from mlexport.bench.runners import RUNNERS, Job, parse_output
from mlexport.cli import main
from mlexport.errors import MeasureError, UsageError
from mlexport.latency import BenchResult, latency_json, read_latency
from tests.written import sliced

SERIAL = "R3CX70ABCDE"
# What a real adb is asked: -s SERIAL get-state | push FILE PLACE | shell COMMAND; the device's root is a folder here
ADB = """\
#!/bin/sh
[ "$1" = -s ] && [ "$2" = {serial} ] || {{ echo "error: device '$2' not found" >&2; exit 1; }}
shift 2
echo "$*" >> {log}
case "$1" in
get-state) echo {state};;
push) mkdir -p "$(dirname "{root}$3")" && cp "$2" "{root}$3";;
shell) shift
  there=$(printf '%s' "$*" | sed 's#/data/local/tmp#{root}/data/local/tmp#g')
  sh -c "getprop() {{ echo the-\\$1; }}; $there";;
*) exit 2;;
esac
"""
# As documented in llama.cpp/tools/llama-bench/README.md, with the times asked for
LLAMA_BENCH = """\
#!{python}
import json, sys
asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert open(asked["-m"], "rb").read(4) == b"GGUF"
calls = int(asked["-r"])
print("ggml_opencl: selecting platform: 'QUALCOMM Snapdragon(TM)'")
row = {{"build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "CPU", "gpu_info": "", "backends": "CPU",
       "model_filename": asked["-m"], "model_type": "qwen3 0.6B Q8_0", "n_threads": int(asked.get("-t", 4)),
       "n_gpu_layers": int(asked["-ngl"]), "embeddings": asked["-embd"] == "1", "n_prompt": int(asked["-p"]),
       "n_gen": int(asked["-n"]), "avg_ns": 2000000, "stddev_ns": 0,
       "samples_ns": [ 2000000 + 1000 * number for number in range(calls) ], "samples_ts": [ 1.0 ] * calls}}
assert asked["-o"] == "json"
print("[")
print("  " + json.dumps(row, indent=4).replace("\\n", "\\n  "))
print("]")
"""
# Runs the model as onnxruntime_perf_test does, from the test data beside it, and writes what that writes
PERF_TEST = """\
#!{python}
import pathlib, sys, time
import onnx, onnxruntime
from onnx import numpy_helper
*words, model, result = sys.argv[1:]
asked = dict(zip(words[::2], words[1::2]))
assert (asked["-m"], asked["-e"]) == ("times", "cpu"), asked
print("Setting intra_op_num_threads to", asked["-x"])
start = time.perf_counter()
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
print(f"Session creation time cost: {{time.perf_counter() - start:.6g}} s")
feeds = {{}}
for path in sorted(pathlib.Path("test_data_set_0").iterdir()):
    tensor = onnx.TensorProto.FromString(path.read_bytes())
    feeds[tensor.name] = numpy_helper.to_array(tensor)
session.run(None, feeds)
print("First inference time cost: 12 ms")
with open(result, "a") as file:
    for number in range(int(asked["-r"])):
        start = time.perf_counter()
        session.run(None, feeds)
        file.write(f"model,{{time.perf_counter() - start:.6g}},66654208,45,{{number}}\\n")
    file.write("\\nMin Latency: 0.001 s\\n")
print("Avg CPU usage: 45 %")
print("Peak working set size: 66654208 bytes")
"""


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the device's root; `log` beside it has what adb was asked."""
    folder = tmp_path / "phone"
    (folder / "root" / "data/local/tmp").mkdir(parents=True)
    write_adb(folder)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def write_adb(folder: Path, state: str = "device") -> None:
    text = ADB.format(serial=SERIAL, log=folder / "log", root=folder / "root", state=state)
    (folder / "adb").write_text(text, encoding="utf-8")
    (folder / "adb").chmod(0o755)


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text.format(python=sys.executable), encoding="utf-8")
    (folder / "libggml.so").write_bytes(b"library")
    (folder / "libllama.so.0").write_bytes(b"library")
    (folder / "README").write_text("not for the phone", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a target."""
    out = tmp_path_factory.mktemp("adb") / "out"
    ways = {"gguf": "q8_0", "onnx": "int8", "openvino": "int8"}
    for target, precision in ways.items():
        options: dict[str, Any] = {"targets": (target,), "precisions": [precision]}
        sliced(Path("demo"), out / target, verify="off", layers=1, dim=64, **options)
    return out


def request(*artifacts: Path, **changes: Any) -> BenchRequest:
    contestants = tuple(Contestant(artifact=str(one), settings=Settings(threads=2)) for one in artifacts)
    made = BenchRequest(
        where=f"adb:{SERIAL}", contestants=contestants, tokens=(16, 32), min_calls=6, min_seconds=0, rounds=3
    )
    return replace(made, **changes)


def test_llama_bench(phone: Path, artifacts: Path, tmp_path: Path) -> None:
    place = parse_adb(f"adb:{SERIAL}", f"llama-bench={program(tmp_path / 'bin', 'llama-bench', LLAMA_BENCH)}")
    result = measure_over_adb(request(artifacts / "gguf"), place)
    assert [run.tokens for run in result.runs] == [16, 32]
    run = result.runs[0]
    assert run.samples_ns == (2_000_000, 2_001_000) * 3
    assert run.round_ends == (2, 4, 6)
    assert (run.engine.runtime, run.engine.version, run.engine.provider) == ("llama.cpp", "5163 (8cf427ff)", "cpu")
    assert run.engine.threads == 2
    # What it does not tell is not made up
    assert (run.load_ns, run.first_call_ns, run.cpu_ns, run.wall_ns, run.peak_bytes) == (None,) * 5
    assert (run.tokenise_ns, run.end_to_end_ns, dict(run.summary_ns)) == ((), (), {})
    assert (result.where, result.environment["machine"]) == (
        f"adb:{SERIAL}",
        "the-ro.product.manufacturer the-ro.product.model",
    )
    asked = (phone / "log").read_text(encoding="utf-8").splitlines()
    pushed = {shlex.split(line)[1].rsplit("/", 1)[-1] for line in asked if line.startswith("push ")}
    assert pushed == {"llama-bench", "libggml.so", "libllama.so.0", next((artifacts / "gguf").glob("*.gguf")).name}
    assert list((phone / "root/data/local/tmp").iterdir()) == []
    assert asked[-1].startswith("shell rm -rf /data/local/tmp/mlexport-")


def test_onnxruntime_perf_test_and_a_comparison(phone: Path, artifacts: Path, tmp_path: Path) -> None:
    place = parse_adb(f"adb:{SERIAL}", str(program(tmp_path / "bin", "onnxruntime_perf_test", PERF_TEST)))
    other = tmp_path / "other"
    shutil.copytree(artifacts / "onnx", other)
    result = measure_over_adb(request(artifacts / "onnx", other, tokens=(16,)), place)
    assert [len(run.samples_ns) for run in result.runs] == [6, 6]
    for run in result.runs:
        assert min(run.samples_ns) > 0
        assert (run.first_call_ns, run.peak_bytes, run.engine.threads) == (12_000_000, 66_654_208, 2)
        assert run.load_ns is not None
    [ratio] = result.ratios
    assert ratio.low <= ratio.value <= ratio.high
    out = tmp_path / "result.json"
    out.write_text(latency_json(result), encoding="utf-8")
    assert read_latency(out) == result


@pytest.mark.slow
def test_openvinos_own_benchmark_app(
    phone: Path, artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = Path(sys.executable).with_name("benchmark_app")
    out = tmp_path / "result.json"
    words = ["bench", artifacts / "openvino", "--on", f"adb:{SERIAL}", "--runner", f"benchmark_app={app}"]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--tokens", "16", "--min-calls", "5", "--threads", "1", "--out", str(out)])
    printed = capsys.readouterr()
    assert (ended.value.code or 0) == 0, printed.err
    result = read_latency(out)
    assert isinstance(result, BenchResult)
    [run] = result.runs
    assert (run.samples_ns, run.round_ends) == ((), ())
    assert 0 < run.summary_ns["least"] <= run.summary_ns["median"] <= run.summary_ns["most"]
    assert run.load_ns is not None
    assert run.first_call_ns is not None
    assert run.engine.version.startswith("20")
    page = tmp_path / "report.md"
    with pytest.raises(SystemExit) as ended:
        main(["report", str(out), "--out", str(page)])
    assert (ended.value.code or 0) == 0
    # A median without percentiles is a row too
    text = page.read_text(encoding="utf-8")
    assert "ms (measured: the median)" in text
    assert "estimated" not in text.split("## Environment")[0].replace("an estimate", "")
    assert f"measured on adb:{SERIAL}" in printed.out
    assert list((phone / "root/data/local/tmp").iterdir()) == []


def test_inputs_are_read_by_the_formats_own_libraries(tmp_path: Path) -> None:
    for number, (name, content) in enumerate(RUNNERS["onnxruntime_perf_test"].inputs(300).items()):
        assert name == f"test_data_set_0/input_{number}.pb"
        tensor = onnx.TensorProto.FromString(content)
        values = numpy_helper.to_array(tensor)
        assert tensor.name == ["input_ids", "attention_mask"][number]
        assert (values.shape, values.dtype) == ((1, 300), np.dtype(np.int64))
        assert (values.min(), values.max()) == [(0, 255), (1, 1)][number]
    for name, content in RUNNERS["benchmark_app"].inputs(40).items():
        (tmp_path / name).write_bytes(content)
        assert np.load(tmp_path / name).shape == (1, 40)


def test_a_gpu_is_asked_for_where_the_settings_name_one() -> None:
    def words(**settings: Any) -> list[str]:
        job = Job(program="../llama-bench", model="m.gguf", tokens=128, calls=5, settings=Settings(**settings))
        return list(RUNNERS["llama-bench"].command(job))

    def layers(**settings: Any) -> str:
        made = words(**settings)
        return made[made.index("-ngl") + 1]

    assert (layers(), layers(provider="cpu"), layers(provider="opencl")) == ("0", "0", "99")
    assert layers(provider="vulkan", gpu_layers=4) == "4"
    assert words()[:5] == ["../llama-bench", "-m", "m.gguf", "-p", "128"]
    job = Job(
        program="p",
        model="m.onnx",
        tokens=1,
        calls=5,
        settings=Settings(provider="QNNExecutionProvider", options={"htp_arch": "75", "backend_type": "htp"}),
    )
    made = list(RUNNERS["onnxruntime_perf_test"].command(job))
    assert made[made.index("-e") + 1] == "qnn"
    assert made[made.index("-i") + 1] == "htp_arch|75 backend_type|htp"
    assert made[-2:] == ["m.onnx", "result.csv"]


# Outputs as the projects document them, or as they were seen
SAID = {
    "llama-bench": '[\n  {\n    "build_commit": "8cf427ff",\n    "build_number": 5163,\n    "n_threads": 8,\n'
    '    "avg_ns": 72135640,\n    "samples_ns": [ 74601900, 71632900 ],\n'
    '    "samples_ts": [ 6863.1, 7147.55 ]\n  }\n]\n',
    "onnxruntime_perf_test": "Setting intra_op_num_threads to 1\nSession creation time cost: 0.217932 s\n"
    "First inference time cost: 196 ms\nTotal inference time cost: 0.49481 s\nTotal inference requests: 5\n"
    "Avg CPU usage: 11 %\nPeak working set size: 271122432 bytes\nRuns:5\nMin Latency: 0.0958204 s\n",
    "benchmark_app": "[ INFO ] Build ................................. 2025.3.0-19807-44526285f24-releases/2025/3\n"
    "[ INFO ] Read model took 38.91 ms\n[ INFO ] Compile model took 2140.27 ms\n"
    "[ INFO ] First inference took 11.84 ms\n"
    "[ INFO ] Count:            200 iterations\n[ INFO ] Latency:\n[ INFO ]    Median:        2.03 ms\n"
    "[ INFO ]    Average:       904.33 us\n[ INFO ]    Min:           1.95 ms\n[ INFO ]    Max:           2.71 ms\n",
}


def test_documented_outputs() -> None:
    llama = parse_output(RUNNERS["llama-bench"], SAID["llama-bench"], "")
    assert (llama.samples_ns, llama.version, llama.threads) == ((74_601_900, 71_632_900), "5163 (8cf427ff)", 8)
    rows = "squeezenet,0.0958204,271122432,11,0\nsqueezenet,1.01519e-01,271122432,11,1\n\nMin Latency: 0.09 s\n"
    perf = parse_output(RUNNERS["onnxruntime_perf_test"], SAID["onnxruntime_perf_test"], rows)
    assert perf.samples_ns == (95_820_400, 101_519_000)
    assert (perf.load_ns, perf.first_call_ns, perf.peak_bytes, perf.threads) == (
        217_932_000,
        196_000_000,
        271_122_432,
        1,
    )
    app = parse_output(RUNNERS["benchmark_app"], SAID["benchmark_app"], "")
    assert app.summary_ns == {"median": 2_030_000, "mean": 904_330, "least": 1_950_000, "most": 2_710_000}
    assert (app.load_ns, app.first_call_ns) == (2_179_180_000, 11_840_000)
    assert (app.samples_ns, app.peak_bytes) == ((), None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("llama-bench", "0 tests in its JSON, expected 1"),
        ("onnxruntime_perf_test", "no call in its result.csv"),
        ("benchmark_app", "no latencies in its output"),
    ],
)
def test_an_output_of_another_form(name: str, said: str) -> None:
    with pytest.raises(MeasureError) as raised:
        parse_output(RUNNERS[name], "something\nerror: cannot open the model\n\n", "")
    assert str(raised.value) == f"{name} said what is not understood ({said}): error: cannot open the model"


def test_a_program_that_fails_there(phone: Path, artifacts: Path, tmp_path: Path) -> None:
    broken = program(tmp_path / "bin", "llama-bench", "#!/bin/sh\necho CANNOT LINK EXECUTABLE >&2\nexit 3\n")
    place = parse_adb(f"adb:{SERIAL}", f"llama-bench={broken}")
    with pytest.raises(MeasureError, match=r"failed there: CANNOT LINK EXECUTABLE$"):
        measure_over_adb(request(artifacts / "gguf"), place)
    assert list((phone / "root/data/local/tmp").iterdir()) == []


def test_a_device_that_is_not_ready(
    phone: Path, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parse_adb(f"adb:{SERIAL}", str(program(tmp_path / "bin", "llama-bench", LLAMA_BENCH)))
    with pytest.raises(MeasureError) as raised:
        measure_over_adb(request(artifacts / "gguf"), replace(place, serial="OTHER"))
    assert str(raised.value) == "adb:OTHER cannot be reached: error: device 'OTHER' not found"
    write_adb(phone, state="unauthorized")
    with pytest.raises(MeasureError) as raised:
        measure_over_adb(request(artifacts / "gguf"), place)
    assert str(raised.value) == f"adb:{SERIAL} is unauthorized: see `adb devices`"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeasureError, match=r"no adb on this machine"):
        measure_over_adb(request(artifacts / "gguf"), place)


def test_what_a_runner_cannot_measure(artifacts: Path, tmp_path: Path) -> None:
    place = parse_adb(f"adb:{SERIAL}", str(program(tmp_path / "bin", "llama-bench", LLAMA_BENCH)))

    def said(asked: BenchRequest, where: AdbPlace = place) -> str:
        with pytest.raises(UsageError) as raised:
            measure_over_adb(asked, where)
        return str(raised.value)

    assert said(request(artifacts / "onnx")) == "llama-bench runs gguf, and L1-D64 onnx int8 is onnx"
    for changes in ({"batches": (1, 8)}, {"streams": (2,)}):
        assert said(request(artifacts / "gguf", **changes)) == (
            "llama-bench measures one text at a time here: leave out --batch and --streams"
        )


def test_names_of_devices_and_runners(tmp_path: Path) -> None:
    def said(on: str, runner: str | None) -> str:
        with pytest.raises(UsageError) as raised:
            parse_adb(on, runner)
        return str(raised.value)

    known = "llama-bench, onnxruntime_perf_test, benchmark_app"
    for serial in ("-s", "a b", "x;reboot", "$(x)", ""):
        assert said(f"adb:{serial}", None) == (
            f"--on {f'adb:{serial}'!r} is not of the form adb:SERIAL, as `adb devices` lists it"
        )
    assert said("adb:1", None) == f"--on adb:1 needs --runner NAME=PATH, a program built for Android: {known}"
    assert said("adb:1", "/bin/other") == f"--runner '/bin/other': 'other' is none of {known}. Write NAME=PATH"
    missing = tmp_path / "none"
    assert said("adb:1", f"llama-bench={missing}") == (f"--runner 'llama-bench={missing}': there is no file {missing}")
    (tmp_path / "llama-bench").touch()
    assert parse_adb("adb:192.168.1.5:5555", str(tmp_path / "llama-bench")).serial == "192.168.1.5:5555"


def test_its_result_can_be_shown(
    phone: Path, artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = program(tmp_path / "bin", "llama-bench", LLAMA_BENCH)
    words = ["bench", artifacts / "gguf", "--on", f"adb:{SERIAL}", "--runner", runner, "--profile", "pixel-8-cpu"]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--tokens", "16", "--min-calls", "14", "--json"])
    assert (ended.value.code or 0) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["profile"], data["runs"][0]["engine"]["threads"]) == ("pixel-8-cpu", 4)
    with pytest.raises(SystemExit):
        main([*map(str, words), "--tokens", "16", "--min-calls", "14"])
    assert "  16    2.00" in capsys.readouterr().out
