"""The runtimes' own benchmark programs: how each is called, and what its output says; nothing is added to it.

llama-bench: https://github.com/ggml-org/llama.cpp/tree/master/tools/llama-bench (JSON with a sample a repetition)
onnxruntime_perf_test: https://github.com/microsoft/onnxruntime/tree/main/onnxruntime/test/perftest (a line a call in
its result file: model, seconds, peak memory, CPU share, number)
benchmark_app: https://docs.openvino.ai/2025/get-started/learn-openvino/openvino-samples/benchmark-tool.html (median,
mean, least and most of all calls; no samples)
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlexport.errors import MeasureError
from mlexport.runtime.settings import Settings

RESULT_FILE = "result.csv"
NOT_TOLD = "not told"
# ONNX Runtime's providers as onnxruntime_perf_test calls them
_EXECUTION = {"CPUExecutionProvider": "cpu", "DmlExecutionProvider": "dml", "DnnlExecutionProvider": "dnnl"}
_INT64 = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One start of a runner: paths are relative to the folder it runs in."""

    program: str
    model: str
    tokens: int
    calls: int
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a runner said of one start; None and empty where it says nothing."""

    samples_ns: tuple[int, ...] = ()
    summary_ns: Mapping[str, int] = field(default_factory=dict)
    load_ns: int | None = None
    first_call_ns: int | None = None
    peak_bytes: int | None = None
    version: str = NOT_TOLD
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A benchmark program.

    Attributes:
        name: of the program.
        target, runtime: of the artifacts it runs.
        cpu: what the runtime calls the CPU.
        inputs: tokens -> files it reads beside the model, by name.
        command: the arguments of a start.
        parse: standard output, and the text of RESULT_FILE -> what was said.
        samples: whether it tells of each call.
        method: sentences for the result.
    """

    name: str
    target: str
    runtime: str
    cpu: str
    inputs: Callable[[int], Mapping[str, bytes]]
    command: Callable[[Job], Sequence[str]]
    parse: Callable[[str, str], Said]
    method: tuple[str, ...]
    samples: bool = True


def _ids(tokens: int) -> Mapping[str, np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    # Tokens of single bytes are in every vocabulary
    ids = (np.arange(tokens, dtype=np.int64) % 256)[None, :]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _no_inputs(tokens: int) -> Mapping[str, bytes]:
    return {}


def _arrays(tokens: int) -> Mapping[str, bytes]:
    """Inputs as numpy writes them, which benchmark_app reads."""
    found = {}
    for name, values in _ids(tokens).items():
        file = io.BytesIO()
        np.save(file, values)
        found[f"{name}.npy"] = file.getvalue()
    return found


def _protobufs(tokens: int) -> Mapping[str, bytes]:
    """Inputs as ONNX's test data: TensorProto of onnx.proto, fields dims 1, data_type 2, name 8, raw_data 9."""
    return {
        f"test_data_set_0/input_{number}.pb": b"".join(
            [
                *(b"\x08" + _varint(size) for size in values.shape),
                b"\x10" + _varint(_INT64),
                b"\x42" + _varint(len(name)) + name.encode(),
                b"\x4a" + _varint(values.nbytes) + values.astype("<i8").tobytes(),
            ]
        )
        for number, (name, values) in enumerate(_ids(tokens).items())
    }


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += struct.pack("B", value & 127 | 128)
        value >>= 7
    return out + struct.pack("B", value)


def _llama_command(job: Job) -> Sequence[str]:
    settings = job.settings
    on_gpu = settings.provider not in (None, "cpu")
    layers = settings.gpu_layers if settings.gpu_layers is not None else 99
    threads = ["-t", str(settings.threads)] if settings.threads else []
    return [
        *(job.program, "-m", job.model, "-p", str(job.tokens), "-n", "0", "-r", str(job.calls)),
        *(*threads, "-ngl", str(layers if on_gpu else 0), "-embd", "1", "-o", "json"),
    ]


def _llama_parse(out: str, file: str) -> Said:
    # Some back ends log before and after the array
    found = re.search(r"^\[\s*\n.*?^\]", out, flags=re.MULTILINE | re.DOTALL)
    rows = json.loads(found[0]) if found else []
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} tests in its JSON, expected 1")
    row = rows[0]
    return Said(
        samples_ns=tuple(int(sample) for sample in row["samples_ns"]),
        version=f"{row['build_number']} ({row['build_commit']})",
        threads=int(row["n_threads"]),
    )


def _perf_command(job: Job) -> Sequence[str]:
    settings = job.settings
    provider = settings.provider or "CPUExecutionProvider"
    execution = _EXECUTION.get(provider, provider.removesuffix("ExecutionProvider").lower())
    threads = ["-x", str(settings.threads)] if settings.threads else []
    entries = " ".join(f"{key}|{value}" for key, value in settings.options.items())
    options = ["-i", entries] if entries else []
    return [
        *(job.program, "-m", "times", "-r", str(job.calls), "-e", execution, *threads, *options),
        *("-o", "99", job.model, RESULT_FILE),
    ]


def _perf_parse(out: str, file: str) -> Said:
    rows = [line.split(",") for line in file.splitlines() if line.count(",") >= 4]
    if not rows:
        raise ValueError(f"no call in its {RESULT_FILE}")
    peak = _number(r"Peak working set size: ?(\d+)", out)
    load = _number(r"Session creation time cost: ?([\d.eE+-]+) s", out)
    first = _number(r"First inference time cost: ?([\d.eE+-]+) ms", out)
    threads = _number(r"Setting intra_op_num_threads to (\d+)", out)
    return Said(
        samples_ns=tuple(round(float(row[1]) * 1e9) for row in rows),
        load_ns=None if load is None else round(load * 1e9),
        first_call_ns=None if first is None else round(first * 1e6),
        peak_bytes=None if peak is None else int(peak),
        threads=None if threads is None else int(threads),
    )


def _app_command(job: Job) -> Sequence[str]:
    settings = job.settings
    threads = ["-nthreads", str(settings.threads)] if settings.threads else []
    files = ",".join(f"{name.removesuffix('.npy')}:{name}" for name in _arrays(1))
    return [
        *(job.program, "-m", job.model, "-d", settings.provider or "CPU", "-api", "sync", "-hint", "none"),
        *("-nstreams", "1", "-niter", str(job.calls), *threads, "-i", files),
    ]


def _app_parse(out: str, file: str) -> Said:
    names = {"median": "Median", "mean": "Average", "least": "Min", "most": "Max"}
    summary = {name: _milliseconds(rf"{said}:\s+", out) for name, said in names.items()}
    if None in summary.values():
        raise ValueError("no latencies in its output")
    times = [_milliseconds(rf"{what} model took ", out) for what in ("Read", "Compile")]
    version = re.search(r"Build \.+ ([^\s]+)", out)
    return Said(
        summary_ns={name: round(value * 1e6) for name, value in summary.items() if value is not None},
        load_ns=None if None in times else round(sum(time or 0 for time in times) * 1e6),
        first_call_ns=round(first * 1e6) if (first := _milliseconds("First inference took ", out)) else None,
        version=version[1] if version else NOT_TOLD,
    )


def _number(pattern: str, out: str) -> float | None:
    found = re.search(pattern, out)
    return float(found[1]) if found else None


def _milliseconds(before: str, out: str) -> float | None:
    found = re.search(before + r"([\d.]+) (ms|us)", out)
    return float(found[1]) / (1000 if found[2] == "us" else 1) if found else None


_IDS = "Inputs are token ids of single bytes: nothing is tokenised, and there is no way from text."
RUNNERS: Mapping[str, Runner] = {
    runner.name: runner
    for runner in (
        Runner(
            name="llama-bench",
            target="gguf",
            runtime="llama.cpp",
            cpu="cpu",
            inputs=_no_inputs,
            command=_llama_command,
            parse=_llama_parse,
            method=(
                "llama-bench ran the model on random token ids with embeddings on, after one call that it does not "
                "report: nothing is tokenised, and there is no way from text.",
            ),
        ),
        Runner(
            name="onnxruntime_perf_test",
            target="onnx",
            runtime="onnxruntime",
            cpu="CPUExecutionProvider",
            inputs=_protobufs,
            command=_perf_command,
            parse=_perf_parse,
            method=(f"onnxruntime_perf_test ran the model; it gives its first call in whole milliseconds. {_IDS}",),
        ),
        Runner(
            name="benchmark_app",
            target="openvino",
            runtime="openvino",
            cpu="CPU",
            inputs=_arrays,
            command=_app_command,
            parse=_app_parse,
            samples=False,
            method=(f"benchmark_app ran the model; it gives median, mean, least and most, and no samples. {_IDS}",),
        ),
    )
}


def parse_output(runner: Runner, out: str, file: str) -> Said:
    """What the output of a start says.

    Raises:
        MeasureError: it is not of the form that is documented.
    """
    try:
        return runner.parse(out, file)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        last = next((line for line in reversed(out.splitlines()) if line.strip()), "nothing")
        raise MeasureError(f"{runner.name} said what is not understood ({error}): {last.strip()[:200]}") from None
