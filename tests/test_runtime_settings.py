"""Runtimes on providers: what they tell of themselves, and that a missing one is an error and no CPU run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from pytest import MonkeyPatch

from mlexport import runtime
from mlexport.artifact import read_artifact
from mlexport.errors import MeasureError
from mlexport.latency import Engine
from mlexport.probes import PROBES
from mlexport.runtime import Embedder, providers
from mlexport.runtime.llama_devices import devices
from mlexport.runtime.settings import Settings
from mlexport.spec import SubModelSpec, parse_target
from tests.tiny import make_tiny
from tests.written import sliced

TEXTS = [probe.text for probe in PROBES[:5]]
TARGETS = ("onnx", "openvino", "gguf", "hf")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One cut in every target; `onnx` and `openvino` with a file that takes strings, and a static one."""
    model = make_tiny(tmp_path_factory.mktemp("tiny") / "model", max_length=128)
    out = tmp_path_factory.mktemp("artifacts")
    for target in TARGETS:
        text_in = target in ("onnx", "openvino")
        sliced(model, out / target, targets=[target], precisions=["f32"], verify="off", text_in=text_in)
    sliced(model, out / "static", targets=["onnx"], precisions=["f32"], verify="off", static="2x32")
    return {path.name: path for path in out.iterdir()}


def opened(folder: Path, variant: str | None = None, **settings: object) -> Embedder:
    artifact = read_artifact(folder)
    manifest, chosen = artifact.manifest, artifact.manifest.variant(variant)
    dim = SubModelSpec.parse(manifest.spec).dim
    return runtime.load(
        parse_target(manifest.target),
        folder,
        chosen.model_file,
        artifact.text,
        dim,
        takes=chosen.takes,
        settings=Settings(**settings),
    )


@pytest.mark.parametrize(
    ("target", "variant"),
    [*((target, None) for target in TARGETS), ("onnx", "f32-text"), ("openvino", "f32-text")],
)
def test_a_stream_gives_the_vectors_of_embed(artifacts: dict[str, Path], target: str, variant: str | None) -> None:
    model = opened(artifacts[target], variant, threads=2, streams=2)
    try:
        expected = model.embed(TEXTS)
        streams = [model.stream(batch=len(TEXTS), tokens=128) for _ in range(2)]
        calls = [stream(TEXTS) for stream in streams]
        # Both again after the other: a stream keeps what it was given
        for call in (*calls, *calls):
            np.testing.assert_allclose(call(), expected, atol=2e-5)
        assert model.stream(batch=1, tokens=128)(TEXTS[:1])().shape == (1, expected.shape[1])
    finally:
        model.close()


def test_a_static_graph_names_its_shape_and_pads(artifacts: dict[str, Path]) -> None:
    model = opened(artifacts["static"])
    assert model.fixed_shape == (2, 32)
    found = model.stream(batch=2, tokens=8)(TEXTS[:2])()
    np.testing.assert_allclose(found, model.embed(TEXTS[:2]), atol=1e-6)
    assert opened(artifacts["onnx"]).fixed_shape is None


@pytest.mark.parametrize(
    ("target", "name", "provider"),
    [("onnx", "onnxruntime", "CPUExecutionProvider"), ("openvino", "openvino", "CPU"), ("hf", "torch", "cpu")],
)
def test_engine_tells_what_ran(artifacts: dict[str, Path], target: str, name: str, provider: str) -> None:
    engine = opened(artifacts[target], threads=1).engine()
    assert (engine.runtime, engine.provider, engine.threads) == (name, provider, 1)
    assert set(engine.nodes) == ({provider} if name != "torch" else set())
    assert all(count > 20 for count in engine.nodes.values())


def test_llama_cpp_counts_layers_and_shares_threads(artifacts: dict[str, Path]) -> None:
    model = opened(artifacts["gguf"], threads=4, streams=2, options={"kv": "f16", "flash_attention": "auto"})
    assert model.engine() == Engine(
        runtime="llama.cpp",
        version=model.engine().version,
        provider="cpu",
        options={"kv": "f16", "flash_attention": "auto"},
        threads=4,
        # Three layers and the output head
        nodes={"cpu": 4},
    )
    model.close()


def test_ggml_has_a_cpu() -> None:
    from llama_cpp import llama_cpp

    assert "CPU" in [device.back_end for device in devices(llama_cpp)]


def test_openvino_says_what_it_computes_in(artifacts: dict[str, Path]) -> None:
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    assert opened(artifacts["openvino"]).engine().options == options
    two = opened(artifacts["openvino"], streams=2, threads=2).engine()
    assert two.options == options | {"NUM_STREAMS": "2"}


def test_a_model_split_over_devices_is_asked_node_by_node(artifacts: dict[str, Path]) -> None:
    nodes = opened(artifacts["openvino"], provider="HETERO:CPU").engine().nodes
    assert set(nodes) == {"CPU"} and nodes["CPU"] > 20


def test_nodes_by_profile_where_onnx_runtime_cannot_tell(artifacts: dict[str, Path], monkeypatch: MonkeyPatch) -> None:
    model = opened(artifacts["onnx"])
    # Where it is defined: a release before 1.24 has no such method
    monkeypatch.delattr(onnxruntime.InferenceSession.__base__, "get_provider_graph_assignment_info")
    assert not hasattr(model.session, "get_provider_graph_assignment_info")
    nodes = model.engine().nodes
    assert set(nodes) == {"CPUExecutionProvider"} and nodes["CPUExecutionProvider"] > 20


ONNX_HAS = f"here (it has: {', '.join(onnxruntime.get_available_providers())})"


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        (
            "onnx",
            {"provider": "cuda"},
            f"ONNX Runtime has no CUDAExecutionProvider {ONNX_HAS}; get it with: pip uninstall onnxruntime "
            "&& pip install onnxruntime-gpu[cuda,cudnn]",
        ),
        (
            "onnx",
            {"provider": "TensorrtExecutionProvider"},
            f"ONNX Runtime has no TensorrtExecutionProvider {ONNX_HAS}; get it with: pip uninstall "
            "onnxruntime && pip install onnxruntime-gpu[cuda,cudnn] tensorrt",
        ),
        (
            "onnx",
            {"provider": "openvino"},
            f"ONNX Runtime has no OpenVINOExecutionProvider {ONNX_HAS}; get it with: pip uninstall "
            "onnxruntime && pip install onnxruntime-openvino",
        ),
        (
            "onnx",
            {"provider": "CoreML"},
            f"ONNX Runtime has no CoreMLExecutionProvider {ONNX_HAS}; the wheel for macOS has it: pip "
            "install onnxruntime",
        ),
        (
            "onnx",
            {"provider": "directml"},
            f"ONNX Runtime has no DmlExecutionProvider {ONNX_HAS}; on Windows, get it with: pip uninstall "
            "onnxruntime && pip install onnxruntime-directml",
        ),
        (
            "onnx",
            {"provider": "xnnpack"},
            f"ONNX Runtime has no XnnpackExecutionProvider {ONNX_HAS}; no wheel has it: build ONNX Runtime "
            "with --use_xnnpack, or measure with its package for Android or iOS",
        ),
        (
            "onnx",
            {"provider": "warp"},
            f"ONNX Runtime has no warp {ONNX_HAS}; known are cpu, cuda, tensorrt, openvino, qnn, coreml, "
            "directml, xnnpack, rocm, migraphx, webgpu",
        ),
        (
            "onnx",
            {"options": {"arena": "1"}},
            "CPUExecutionProvider takes no option 'arena': those of the session begin with 'session.'",
        ),
        (
            "openvino",
            {"provider": "npu"},
            "OpenVINO finds no NPU here (it finds: CPU); pip install openvino brings its plug-in, so what is missing "
            "is the device or its driver: "
            "https://docs.openvino.ai/2025/get-started/install-openvino/configurations.html",
        ),
        (
            "gguf",
            {"provider": "cuda"},
            'llama.cpp has no cuda here (it has: cpu); build it with: CMAKE_ARGS="-DGGML_CUDA=on" pip install '
            "--force-reinstall --no-binary llama-cpp-python llama-cpp-python",
        ),
        (
            "gguf",
            {"options": {"batch": "1"}},
            "llama.cpp takes no option 'batch': choose from micro_batch, flash_attention, kv",
        ),
        ("gguf", {"options": {"kv": "q8"}}, "kv 'q8' is unknown: choose from f32, f16"),
        ("hf", {"options": {"dtype": "int8"}}, "dtype 'int8' is unknown: choose from float32, bfloat16, float16"),
    ],
)
def test_what_is_missing_is_an_error(
    artifacts: dict[str, Path], target: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(MeasureError) as caught:
        opened(artifacts[target], **settings)
    assert str(caught.value) == message


@pytest.mark.parametrize("provider", ["cuda", "mps", "tpu"])
def test_torch_has_no_gpu_here(artifacts: dict[str, Path], provider: str) -> None:
    import torch

    with pytest.raises(MeasureError, match=f"torch {torch.__version__.replace('+', '.')} has no {provider} here"):
        opened(artifacts["hf"], provider=provider)


def test_openvino_refuses_an_unknown_property(artifacts: dict[str, Path]) -> None:
    with pytest.raises(MeasureError, match=r"does not run on OpenVINO's CPU: .*SPEED"):
        opened(artifacts["openvino"], options={"SPEED": "1"})


def test_torch_in_bfloat16(artifacts: dict[str, Path]) -> None:
    half, whole = opened(artifacts["hf"], options={"dtype": "bfloat16"}), opened(artifacts["hf"])
    assert half.engine().options == {"dtype": "bfloat16"}
    vectors = half.stream(batch=2, tokens=64)(TEXTS[:2])()
    cosines = (vectors * whole.embed(TEXTS[:2])).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    assert (cosines > 0.99).all() and (vectors != whole.embed(TEXTS[:2])).any()


def test_a_simulator_is_not_measured(artifacts: dict[str, Path]) -> None:
    with pytest.raises(MeasureError, match="would run in Qualcomm's simulator here, whose times are no chip's"):
        opened(artifacts["static"], provider="qnn", options={"backend_type": "cpu"})


def test_provider_names() -> None:
    names = {"CUDA": "CUDAExecutionProvider", "cpuexecutionprovider": providers.CPU, "QNN": providers.QNN}
    assert {given: providers.provider_name(given) for given in names} == names
    assert providers.provider_name(None) == providers.CPU
