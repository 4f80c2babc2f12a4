"""Results of `bench` and `estimate` as they would be, made by a seed: times follow sizes and lengths, with noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlexport.latency import (
    BenchResult,
    Engine,
    Estimated,
    EstimateResult,
    FigureUsed,
    Part,
    Ratio,
    Run,
    Subject,
    latency_json,
)
from mlexport.report.pareto import Point

LENGTHS = (16, 32, 64, 128, 256, 512)
TOOL = "mlexport 0.1.0"
# spec, target, variant, precision, MB, kept, milliseconds a token
_FORMS = (
    ("L12-D256", "onnx", "f32", "f32", 44.1, 1.0, 0.061),
    ("L12-D256", "onnx", "int8", "int8", 12.9, 0.991, 0.034),
    ("L8-D128", "onnx", "int8", "int8", 10.4, 0.972, 0.023),
    ("L8-D128", "gguf", "q8_0", "q8_0", 9.5, 0.995, 0.052),
    ("L8-R64-D128", "openvino", "int8_sym", "int8", 6.2, 0.958, 0.021),
    # Beaten by the one above in everything
    ("L8-D128", "openvino", "f16", "f16", 17.3, 0.955, 0.048),
    ("L4-D64", "onnx", "int4_b32", "int4", 4.9, 0.871, 0.016),
    ("L4-R32-D64", "gguf", "q4_k_m", "int4", 2.6, None, 0.019),
)


def subjects(count: int = len(_FORMS)) -> tuple[Subject, ...]:
    """The first of some artifacts of the demo."""
    return tuple(
        Subject(
            name=f"{spec} {target} {variant}",
            artifact=f"out/{spec}-{target}",
            model="demo",
            spec=spec,
            target=target,
            variant=variant,
            precision=precision,
            sha256=hashlib.sha256(f"{spec}{target}{variant}".encode()).hexdigest(),
            bytes=int(megabytes * 1e6),
            cosine=None if kept is None else 0.99 + kept / 100,
            retained=kept,
        )
        for spec, target, variant, precision, megabytes, kept, _ in _FORMS[:count]
    )


def speed(subject: Subject) -> float:
    """Milliseconds a token of one of `subjects`, on an average processor."""
    return next(
        form[6] for form in _FORMS if (form[0], form[1], form[2]) == (subject.spec, subject.target, subject.variant)
    )


def bench(
    profile: str = "local",
    *,
    count: int = len(_FORMS),
    lengths: Sequence[int] = LENGTHS,
    samples: int = 200,
    seed: int = 0,
    noisy: bool = False,
    processor: str = "Intel Xeon Platinum 8481C",
    where: str = "here",
    slower: float = 1.0,
) -> BenchResult:
    """A measured file: every length by itself, and at 128 tokens also batches and streams."""
    generator = np.random.default_rng(seed)
    own = subjects(count)
    settings = [(tokens, 1, 1) for tokens in lengths]
    settings += [(128, batch, 1) for batch in (8,) if 128 in lengths] + [(128, 1, 2) for _ in (0,) if 128 in lengths]
    runs = [
        _run(generator, subject, setting, samples, noisy=noisy and subject is own[0], slower=slower)
        for subject in own
        for setting in settings
    ]
    ratios = tuple(
        Ratio(subject=one.name, base=own[0].name, tokens=128, batch=1, streams=1, value=r, low=0.97 * r, high=1.04 * r)
        for one in own[1:]
        for r in [speed(one) / speed(own[0])]
    )
    return BenchResult(
        kind="measured",
        format_version=1,
        tool=TOOL,
        created="2026-11-25T12:00:00+00:00",
        profile=profile,
        where=where,
        environment={
            "processor": processor,
            "cores": 2,
            "memory_bytes": 24_000_000_000,
            "system": "Linux 6.1",
            "versions": {"onnxruntime": "1.32.0", "openvino": "2026.4.1", "llama-cpp-python": "0.3.36"},
            "load_before": 0.12,
        },
        method=(
            "Each artifact and setting in a process of its own; the parent sleeps.",
            "Load, then the first call, then 10 warm calls, then calls in 5 interleaved rounds.",
        ),
        subjects=own,
        runs=tuple(runs),
        ratios=ratios,
        trusted=not noisy,
    )


def _run(
    generator: np.random.Generator,
    subject: Subject,
    setting: tuple[int, int, int],
    samples: int,
    *,
    noisy: bool,
    slower: float,
) -> Run:
    tokens, batch, streams = setting
    middle = slower * (0.4 + speed(subject) * tokens * (1 + tokens / 3000)) * batch**0.8 * streams**0.7
    spread = 0.25 if noisy else 0.03
    taken = tuple(int(1e6 * middle * factor) for factor in generator.lognormal(0, spread, samples))
    around = int(0.2e6) + tokens * 900
    provider = {"onnx": "CPUExecutionProvider", "openvino": "CPU", "gguf": "cpu"}[subject.target]
    runtime = {"onnx": "onnxruntime", "openvino": "openvino", "gguf": "llama.cpp"}[subject.target]
    version = {"onnx": "1.32.0", "openvino": "2026.4.1", "gguf": "0.3.36"}[subject.target]
    nodes = {"CPUExecutionProvider": 214} if subject.target == "onnx" else {}
    return Run(
        subject=subject.name,
        engine=Engine(runtime=runtime, version=version, provider=provider, options={}, threads=2, nodes=nodes),
        tokens=tokens,
        batch=batch,
        streams=streams,
        load_ns=int(4e6 * subject.bytes / 1e6),
        first_call_ns=int(1.8 * taken[0]),
        warm_calls=10,
        samples_ns=taken,
        tokenise_ns=tuple(around // 3 for _ in taken) if subject.target == "onnx" else (),
        end_to_end_ns=tuple(one + around for one in taken),
        wall_ns=sum(taken) // streams,
        cpu_ns=int(1.7 * sum(taken) / streams),
        resident_bytes=int(45e6 + 1.1 * subject.bytes),
        peak_bytes=int(52e6 + 1.9 * subject.bytes + 20_000 * tokens * batch),
        round_ends=(samples // 2, samples),
        noise=("The hypervisor took 4.1% of the processor's time (steal).", "The rounds' medians differ by 18%.")
        if noisy
        else (),
    )


def estimate(
    *profiles: str,
    count: int = len(_FORMS),
    lengths: Sequence[int] = LENGTHS,
    factor: float = 1.0,
    refused: bool = True,
) -> EstimateResult:
    """An estimated file; on an NPU graphs with dynamic shapes are refused."""
    own = subjects(count)
    found = [
        _estimated(subject, profile, tokens, factor * (1 + 0.7 * place), refused=refused)
        for place, profile in enumerate(profiles)
        for subject in own
        for tokens in lengths
    ]
    return EstimateResult(
        kind="estimated",
        format_version=1,
        tool=TOOL,
        created="2026-11-25T12:30:00+00:00",
        method=(
            "Operations and bytes are counted from the graph; throughput and overhead are the profile's.",
            "On published latencies of other models, leave-one-out: median error 24%.",
        ),
        subjects=own,
        estimates=tuple(found),
    )


def _estimated(subject: Subject, profile: str, tokens: int, factor: float, *, refused: bool) -> Estimated:
    reason = None
    if refused and profile.endswith("-npu") and subject.target != "openvino":
        reason = "the NPU needs fixed shapes, and this graph's are dynamic: slice with --static 1x128"
    ms = None if reason else factor * (0.3 + 0.7 * speed(subject) * tokens)
    over = ("its file of 44.1 MB is over the device's limit of 40 MB",) if subject.bytes > 40e6 else ()
    return Estimated(
        subject=subject.name,
        profile=profile,
        runtime="onnxruntime"
        if subject.target == "onnx"
        else "openvino"
        if subject.target == "openvino"
        else "llama.cpp",
        tokens=tokens,
        batch=1,
        refused=reason,
        ms=ms,
        low_ms=None if ms is None else 0.75 * ms,
        high_ms=None if ms is None else 1.4 * ms,
        memory_bytes=None if ms is None else int(30e6 + 1.6 * subject.bytes),
        coverage=None if ms is None else 0.9,
        parts=()
        if ms is None
        else (
            Part(name="products int8", giga_operations=0.0157 * tokens, megabytes=4.5, ms=0.8 * ms, bound="compute"),
            Part(name="attention", giga_operations=0.0009 * tokens, megabytes=0.4, ms=0.2 * ms, bound="cache"),
        ),
        figures=()
        if ms is None
        else (
            FigureUsed(
                name="effective int8", value=0.3, unit="TOP/s", grade="derived", source="Gecko-110M on S23 Ultra"
            ),
            FigureUsed(name="bandwidth", value=60.0, unit="GB/s", grade="third party", source="runlocalai.co"),
        ),
        warnings=over,
    )


def sweep_points(devices: Sequence[str] = ("local", "pixel-8-cpu"), seed: int = 0) -> tuple[Point, ...]:
    """Points of a sweep over layers, rank, dim and precision."""
    generator = np.random.default_rng(seed)
    found = []
    for place, device in enumerate(devices):
        for layers in (4, 6, 8, 12):
            for rank in (32, 64, None):
                for dim in (32, 64, 128, 256):
                    for precision, bits, loss in (("f32", 32, 0.0), ("int8", 8, 0.004), ("int4", 4.5, 0.02)):
                        table = 16400 * ((rank or 256) + (0 if rank is None else 1))
                        size = (table + layers * 525_000) * bits / 8 + 700_000
                        kept = 1 - 0.8 / layers**1.6 - 0.9 / dim**0.9 - (0 if rank is None else 0.9 / rank) - loss
                        ms = (1 + 0.6 * place) * layers * (0.5 + bits / 40) * float(generator.uniform(0.97, 1.03))
                        spec = f"L{layers}" + ("" if rank is None else f"-R{rank}") + f"-D{dim}"
                        found.append(
                            Point(
                                name=f"{spec} onnx {precision}",
                                device=device,
                                layers=layers,
                                rank=rank,
                                dim=dim,
                                vocab=None,
                                precision=precision,
                                target="onnx",
                                bytes=int(size),
                                retained=kept,
                                cosine=1 - loss / 4,
                                ms=ms,
                                ms_kind="measured" if place == 0 else "estimated",
                            )
                        )
    return tuple(found)


def write(result: BenchResult | EstimateResult, path: Path) -> Path:
    """The file, and its path."""
    path.write_text(latency_json(result), encoding="utf-8")
    return path


def renamed(result: BenchResult, old: str, new: str) -> BenchResult:
    """The same with another name for one subject."""
    return replace(
        result,
        subjects=tuple(replace(one, name=new) if one.name == old else one for one in result.subjects),
        runs=tuple(replace(one, subject=new) if one.subject == old else one for one in result.runs),
        ratios=tuple(
            replace(one, subject=new if one.subject == old else one.subject, base=new if one.base == old else one.base)
            for one in result.ratios
        ),
    )
