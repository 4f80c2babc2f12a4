"""Real measurements of tiny artifacts: what is asked is what is kept, and nothing else runs or stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest import MonkeyPatch

from mlexport import bench, latency
from mlexport.bench import jobs, memory
from mlexport.bench.child import Child
from mlexport.bench.protocol import MODEL, Task
from mlexport.bench.request import read_request, request_json
from mlexport.bench.stats import medians
from mlexport.errors import MeasureError, MissingExtraError, UsageError
from mlexport.runtime.ort import OrtEmbedder
from tests.tiny import make_tiny
from tests.written import sliced

SHORT = bench.Choices(tokens=[8, 24], min_calls=6, min_seconds=0, rounds=3, threads=[1])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=32)


@pytest.fixture(scope="module")
def artifacts(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One cut in three targets, in two precisions in ONNX, and a static one."""
    out = tmp_path_factory.mktemp("artifacts")
    sliced(model, out / "onnx", targets=["onnx"], precisions=["f32", "int8"], verify="off")
    for target in ("openvino", "gguf"):
        sliced(model, out / target, targets=[target], precisions=["f32"], verify="off", text_in=target == "openvino")
    sliced(model, out / "static", targets=["onnx"], precisions=["f32"], verify="off", static="2x16")
    return {path.name: path for path in out.iterdir()}


@pytest.fixture(scope="module")
def compared(artifacts: dict[str, Path]) -> latency.BenchResult:
    """Three runtimes in turn."""
    return bench.run([artifacts[name] for name in ("onnx", "openvino", "gguf")], SHORT)


def test_every_contestant_in_every_setting(compared: latency.BenchResult) -> None:
    names = ["L3-D64 onnx f32", "L3-D64 openvino f32", "L3-D64 gguf f32"]
    assert [one.name for one in compared.subjects] == names
    assert [(run.tokens, run.subject) for run in compared.runs] == [(n, name) for n in (8, 24) for name in names]
    for run in compared.runs:
        assert len(run.samples_ns) == run.round_ends[-1] >= 6 and len(run.round_ends) == 3
        assert min(run.samples_ns) > 0 and run.first_call_ns > 0 and run.load_ns > 0
        # All calls of one thread lie within the time on the clock, one after the other
        assert sum(run.samples_ns) <= run.wall_ns
        assert run.warm_calls == 3 + 3 and run.engine.threads == 1
        assert len(run.tokenise_ns) == 6 and len(run.end_to_end_ns) == 3
        assert 10e6 < run.resident_bytes <= run.peak_bytes
        assert sum(run.engine.nodes.values()) > 0
    assert {run.engine.runtime for run in compared.runs} == {"onnxruntime", "openvino", "llama.cpp"}
    assert compared.trusted is not any(run.noise for run in compared.runs)


def test_ratios_are_of_the_rounds(compared: latency.BenchResult) -> None:
    runs = {(run.subject, run.tokens): run for run in compared.runs}
    assert len(compared.ratios) == 4
    for one in compared.ratios:
        pair = [runs[name, one.tokens] for name in (one.subject, one.base)]
        times, base = (np.array(medians(run.samples_ns, run.round_ends)) for run in pair)
        assert one.value == pytest.approx(np.exp(np.log(times / base).mean()))
        assert one.low < one.value < one.high and one.base == compared.subjects[0].name


def test_a_result_is_read_as_it_was_written(compared: latency.BenchResult, tmp_path: Path) -> None:
    latency.write_latency(compared, tmp_path / "r.json")
    assert latency.read_latency(tmp_path / "r.json") == compared
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_environment_is_kept(compared: latency.BenchResult) -> None:
    found = compared.environment
    assert found["usable_cores"] == len(os.sched_getaffinity(0)) and found["python"] == sys.version.split()[0]
    assert {"onnxruntime", "openvino", "llama-cpp-python", "numpy"} <= set(found["versions"])
    assert "torch" not in found["versions"]
    assert {"load", "mhz", "celsius", "loop_ns"} == set(found["before"]) == set(found["after"])


def test_the_order_of_turns_rotates(artifacts: dict[str, Path], monkeypatch: MonkeyPatch) -> None:
    order: list[str] = []
    turn = Child.turn

    def told(self: Child, kind: str, calls: int, seconds: float) -> None:
        if kind == MODEL:
            order.append(self.name.split()[-1])
        turn(self, kind, calls, seconds)

    monkeypatch.setattr(Child, "turn", told)
    choices = replace(SHORT, tokens=[8], variants=["all"])
    bench.run([artifacts["onnx"]], choices)
    assert order == ["f32", "int8", "int8", "f32", "f32", "int8"]


def test_batches_and_streams(artifacts: dict[str, Path]) -> None:
    found = bench.run([artifacts["onnx"], artifacts["gguf"]], replace(SHORT, tokens=[8], batches=[3], streams=[2]))
    assert [(run.batch, run.streams) for run in found.runs] == [(3, 2)] * 2
    for run in found.runs:
        assert len(run.samples_ns) >= 6
        # Two threads at once: their calls take more time together than there was on the clock, or nearly
        assert sum(run.samples_ns) <= 2 * run.wall_ns


def test_a_static_artifact_runs_its_own_batch(artifacts: dict[str, Path]) -> None:
    found = bench.run([artifacts["static"]], replace(SHORT, tokens=None, rounds=1))
    assert [(run.tokens, run.batch) for run in found.runs] == [(16, 2)]
    assert f"{artifacts['static']} is static: 2 texts at a time, each padded to 16 tokens." in found.method
    with pytest.raises(MeasureError, match=r"runs 2 texts at a time, not 3\. Leave --batch out"):
        bench.run([artifacts["static"]], replace(SHORT, tokens=[8], batches=[3]))
    with pytest.raises(MeasureError, match="static artifacts of 1 and 2 texts at a time cannot be compared"):
        bench.run([artifacts["onnx"], artifacts["static"]], replace(SHORT, tokens=[8]))


def test_a_model_that_takes_strings_is_timed_with_its_tokenizer(artifacts: dict[str, Path]) -> None:
    found = bench.run([artifacts["openvino"]], replace(SHORT, tokens=[8], variants=["f32-text"]))
    [run] = found.runs
    assert run.tokenise_ns == () and len(run.samples_ns) >= 6


def test_both_calls_and_seconds_are_met(artifacts: dict[str, Path]) -> None:
    found = bench.run([artifacts["onnx"]], replace(SHORT, tokens=[8], min_seconds=0.6, min_calls=3))
    assert found.runs[0].wall_ns >= 0.6e9


def test_names_tell_settings_and_folders_apart(artifacts: dict[str, Path]) -> None:
    choices = replace(SHORT, tokens=[8], threads=[1, 2])
    assert [s.name for s in bench.run([artifacts["onnx"]], choices).subjects] == [
        "L3-D64 onnx f32 1 thread",
        "L3-D64 onnx f32 2 threads",
    ]
    with pytest.raises(UsageError, match="L3-D64 onnx f32 is given twice"):
        bench.run([artifacts["onnx"]] * 2, SHORT)


def test_a_child_raises_what_its_model_raised(artifacts: dict[str, Path]) -> None:
    with pytest.raises(MeasureError, match="ONNX Runtime has no CUDAExecutionProvider here"):
        bench.run([artifacts["onnx"]], replace(SHORT, provider="cuda"))
    assert not children()


def test_a_missing_runtime_names_the_pip_line(
    artifacts: dict[str, Path], tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(MissingExtraError, match=r'pip install "mlexport\[openvino\]"'):
        bench.run([artifacts["openvino"]], SHORT)


def test_the_simulator_is_no_chip(artifacts: dict[str, Path], monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(MeasureError, match="QNN on x86-64 is Qualcomm's simulator, whose times are not the chip's"):
        bench.run([artifacts["static"]], replace(SHORT, provider="qnn"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": [64]}, "--tokens 64 is more than .*onnx takes: its limit is 32"),
        ({"tokens": [2]}, "--tokens is 2: the least is 4, the end token included"),
        ({"batches": [0]}, "--batch is 0: the least is 1"),
        ({"min_calls": 1}, "--min-calls is 1: the least is 3"),
        ({"rounds": 2, "threads": [1, 2]}, "--rounds is 2: the least is 3 where several artifacts are compared"),
        ({"min_seconds": -1.0}, "--min-seconds is -1.0: expected 0 to 3600"),
        ({"threads": [0]}, "--threads is 0: the least is 1"),
        ({"gpu_layers": 3}, "--gpu-layers is for target gguf, and .*onnx is onnx: leave it out"),
        (
            {"profile": "pixel-9-cpu"},
            r"this machine \(.*\) does not look like profile pixel-9-cpu \(Pixel 9, Tensor G4\): measure there with "
            r"--on .*, estimate with `mlexport estimate --profile pixel-9-cpu`, or pass --assume-device",
        ),
        ({"profile": "h200", "assume_device": True}, "ONNX Runtime has no CUDAExecutionProvider here"),
        ({"profile": "iphone-16-npu", "assume_device": True}, "runs no onnx artifacts|no .*ExecutionProvider here"),
    ],
)
def test_what_cannot_be_measured(artifacts: dict[str, Path], change: dict[str, object], message: str) -> None:
    with pytest.raises((UsageError, MeasureError), match=message):
        bench.run([artifacts["onnx"]], replace(SHORT, **change))


def test_a_request_travels_as_json(artifacts: dict[str, Path], tmp_path: Path) -> None:
    request = bench.plan([artifacts["onnx"], artifacts["gguf"]], SHORT, where="ssh://pi@board")
    (tmp_path / "request.json").write_text(request_json(request), encoding="utf-8")
    assert read_request(tmp_path / "request.json") == request
    assert [one.settings.threads for one in request.contestants] == [1, 1]
    (tmp_path / "request.json").write_text(request_json(request).replace('"rounds"', '"round"'), encoding="utf-8")
    with pytest.raises(UsageError, match="unknown key 'round'"):
        read_request(tmp_path / "request.json")


def light(request: bench.BenchRequest, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "request.json").write_text(request_json(request), encoding="utf-8")
    command = [sys.executable, "-m", "mlexport.bench.light", "request.json", "result.json"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])} | environment
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_runner_of_boards_needs_no_torch(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """Torch and transformers that leave a file behind when anything imports them, in the parent and in the children."""
    for name in ("torch", "transformers", "sentence_transformers", "safetensors", "huggingface_hub"):
        trap = f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).write_text({name!r})\nraise ImportError\n"
        (tmp_path / f"{name}.py").write_text(trap)
    folders = [artifacts[name] for name in ("onnx", "openvino", "gguf")]
    request = replace(bench.plan(folders, replace(SHORT, tokens=[8])), where="ssh://pi@board")
    request = replace(
        request, contestants=tuple(replace(one, shown=f"out/{place}") for place, one in enumerate(request.contestants))
    )
    done = light(request, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "imported").exists()
    result = latency.read_latency(tmp_path / "result.json")
    assert isinstance(result, latency.BenchResult)
    assert result.where == "ssh://pi@board" and [one.artifact for one in result.subjects] == ["out/0", "out/1", "out/2"]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[0] == {"step": "8", "total": 12} and told[-1] == {"done": True}
    assert sum(line.get("advance", 0) for line in told) == 12


def test_the_runner_of_boards_says_what_is_wrong(artifacts: dict[str, Path], tmp_path: Path) -> None:
    request = bench.plan([artifacts["onnx"]], replace(SHORT, provider="cuda"))
    done = light(request, tmp_path)
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ONNX Runtime has no CUDAExecutionProvider here")
    assert done.returncode == MeasureError.exit_code and not (tmp_path / "result.json").exists()


def test_a_killed_parent_leaves_no_child(artifacts: dict[str, Path]) -> None:
    command = [
        sys.executable,
        "-m",
        "mlexport",
        "bench",
        str(artifacts["onnx"]),
        "--tokens",
        "8",
        "--min-seconds",
        "600",
    ]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([*command, "--rounds", "1"], env=env, stdout=subprocess.DEVNULL) as parent:
        until(lambda: len(children(parent.pid)) == 1)
        [child] = children(parent.pid)
        # In the midst of a turn of ten minutes
        until(lambda: child.cpu_times().user > 0.5)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def children(pid: int | None = None) -> list[psutil.Process]:
    return [one for one in psutil.Process(pid).children() if "mlexport.bench.worker" in " ".join(one.cmdline())]


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_child_that_dies_is_an_error(artifacts: dict[str, Path]) -> None:
    [contestant] = bench.plan([artifacts["onnx"]], SHORT).contestants
    with Child(Task(contestant=contestant, tokens=8, batch=None, streams=1), "the model") as child:
        [found] = children()
        found.kill()
        with pytest.raises(MeasureError, match="the process that ran the model was ended by signal 9"):
            child.turn(MODEL, 1, 0)


def test_samples_are_the_time_of_the_model_alone(artifacts: dict[str, Path], monkeypatch: MonkeyPatch) -> None:
    """A call on ids does not tokenise: its inputs were made before."""
    from mlexport.bench.worker import Contest

    [contestant] = bench.plan([artifacts["onnx"]], SHORT).contestants
    contest = Contest(Task(contestant=contestant, tokens=8, batch=None, streams=1))
    monkeypatch.setattr(OrtEmbedder, "token_ids", lambda self, texts: pytest.fail("tokenised"))
    assert len(jobs.run(contest.jobs[MODEL], 5, 0).samples_ns) == 5


def test_an_error_in_a_thread_is_raised() -> None:
    def fails() -> None:
        raise MeasureError("no memory")

    with pytest.raises(MeasureError, match="no memory"):
        jobs.run([[fails], [fails]], 4, 0)


def test_memory_is_what_psutil_says() -> None:
    found = memory.held()
    assert found.resident == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)
    assert found.peak >= found.resident
