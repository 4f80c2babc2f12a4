"""Lists of operators, Qualcomm's chips, and device profiles: what is refused before anything is compiled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mlexport import pipeline
from mlexport.artifact import read_artifact
from mlexport.errors import MlexportError, UsageError, VerificationError
from mlexport.fit import check_operators
from mlexport.npu import CHIPS, LISTS, find_chip, unsupported
from mlexport.npu.intel import ask
from mlexport.profiles import load_profile
from mlexport.request import SliceRequest, check
from mlexport.spec import Target
from tests.tiny import make_tiny
from tests.written import sliced


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


def test_operators_are_looked_up_in_a_list() -> None:
    assert unsupported(["MatMul", "Loop", "Softmax", "Loop", "MatMulInteger"], "qnn-htp") == ("Loop", "MatMulInteger")
    assert unsupported(["com.microsoft.MatMulNBits", "com.microsoft.GroupQueryAttention"], "qnn-htp") == (
        "com.microsoft.GroupQueryAttention",
    )
    assert unsupported(["MatMul", "Softmax", "Unique"], "openvino-npu") == ("Unique",)
    assert unsupported([], "openvino-npu") == ()
    with pytest.raises(UsageError, match="no list of operators is called 'apple': choose from qnn-htp, openvino-npu"):
        unsupported(["MatMul"], "apple")


def test_the_lists_are_of_operators_that_exist() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    named = {name for name in LISTS["qnn-htp"].names if "." not in name}
    assert named - known == set()


def test_operators_of_openvino_exist() -> None:
    import openvino as ov

    known = {name for number in range(1, 17) for name in dir(getattr(ov, f"opset{number}", object))}
    lowered = {name.lower().replace("_", "") for name in known}
    missing = {name for name in LISTS["openvino-npu"].names if name.lower() not in lowered}
    # What passes make of others, what Python calls otherwise or has not, and how files spell Constant
    assert missing <= {"RMS", "RoPE", "GroupQueryAttention", "FakeConvert", "If", "Reverse", "Const"} | {
        "ExperimentalDetectronROIFeatureExtractor"
    }


def test_chips_are_found_by_part_number_or_version() -> None:
    assert find_chip(None, None).soc == "sm8650"
    assert find_chip("SM8750", None) == CHIPS["sm8750"]
    assert find_chip(None, 81).soc == "sm8850"
    assert find_chip("sc8380xp", 73).soc_model == 60
    numbers = [chip.soc_model for chip in CHIPS.values()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("soc", "version", "message"),
    [
        (
            "sm1",
            None,
            r"unknown --soc 'sm1': choose from sm8450 \(Snapdragon 8 Gen 1\), .*sm8650 \(Snapdragon 8 Gen 3\)",
        ),
        (None, 74, "unknown --htp-arch 74: choose from 69, 73, 75, 79, 81"),
        ("sm8650", 73, "--soc sm8650 has htp_arch 75, got --htp-arch 73: leave that out"),
    ],
)
def test_other_chips_are_refused(soc: str | None, version: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_chip(soc, version)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["gguf"], "soc": "sm8650"}, "--soc is for target qnn, got gguf: leave it out"),
        ({"targets": ["onnx"], "htp_arch": 75}, "--htp-arch is for target qnn, got onnx: leave it out"),
        ({"targets": ["onnx", "qnn"]}, "target qnn has fixed shapes, got onnx, qnn: pass --static for all"),
        ({"targets": ["qnn"], "text_in": True}, "--text-in is for targets onnx and openvino, not for qnn"),
        (
            {"targets": ["qnn"], "precisions": ["int4"]},
            "precision 'int4' is not one of target qnn: choose from f16, w8a16",
        ),
        ({"targets": ["qnn"], "precisions": ["auto"], "min_cosine": 0.9}, "precision 'auto' is not one of target qnn"),
        ({"targets": ["qnn"], "calibrate": "builtin"}, "--calibrate has nothing to round in f16"),
        ({"targets": ["qnn"], "vectors": "int8"}, "--vectors int8 needs a range from 1,000 documents"),
    ],
)
def test_options_that_do_not_go_together(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(SliceRequest(**changes))  # type: ignore[arg-type]


def test_a_compiled_graph_has_a_shape_and_w8a16_has_texts() -> None:
    checked = check(SliceRequest(targets=["qnn"], precisions=["f16", "int8"], htp_arch=73))
    assert (checked.shape, checked.calibrate) == ((1, 128), "builtin")
    assert checked.precisions[Target.QNN] == ("f16", "w8a16")
    assert checked.chip == CHIPS["sm8550"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"targets": ["openvino"]},
            "profile intel-npu takes fixed shapes alone: pass --static, such as --static 1x128",
        ),
        (
            {"targets": ["openvino"], "static": "1x16", "precisions": ["int4"]},
            "profile intel-npu computes openvino in f16, int8, got int4_sym: choose another --precision",
        ),
        ({"targets": ["gguf"]}, "profile intel-npu runs targets .*openvino.*, got gguf: choose one of them"),
    ],
)
def test_what_a_profile_rules_out(checkpoint: Path, changes: dict[str, object], message: str) -> None:
    request = SliceRequest(model=str(checkpoint), profile="intel-npu", **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        pipeline.plan_slice(request)


@pytest.mark.parametrize("precision", ["int8", "f16"])
def test_an_ir_for_intels_npu_says_how_it_was_checked(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    arguments = {"layers": 1, "dim": 16, "static": "1x16", "precisions": [precision], "targets": ("openvino",)}
    [result] = sliced(checkpoint, tmp_path / "a", profile="intel-npu", verify="off", **arguments)
    found = read_artifact(tmp_path / "a").manifest.variants[0].device
    assert found is not None
    assert found == result.artifact.manifest.variants[0].device
    assert found.profile == "intel-npu"
    assert {"MatMul", "Gather", "Softmax"} <= set(found.operators)
    # openvino's wheel has the plug-in and no compiler for it: where one is installed, it is asked
    assert (found.method == "list") == (found.not_asked is not None)
    assert found.source == LISTS["openvino-npu"].source if found.method == "list" else "openvino" in found.source
    file = tmp_path / "a" / result.artifact.manifest.variants[0].model_file
    asked = ask(file, "CPU")
    assert (asked.method, asked.refused, asked.not_asked, asked.static) == ("query", (), None, True)


def test_an_unknown_operator_keeps_nothing(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    node = helper.make_node("Unique", ["x"], ["y"], name="where")
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y])), path)
    with pytest.raises(VerificationError, match=r"m\.onnx has dynamic shapes, which intel-npu does not take"):
        check_operators(load_profile("intel-npu"), Target.ONNX, path)
    with pytest.raises(VerificationError, match=r"operators that snapdragon-8-gen-3-npu does not take: Unique \("):
        check_operators(load_profile("snapdragon-8-gen-3-npu"), Target.ONNX, path)


def test_the_simulator_is_never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlexport.npu import simulator

    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(MlexportError, match="Qualcomm's simulator here, whose times are no chip's: measure it on"):
        simulator.refuse_simulated(Path("m.onnx"))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    simulator.refuse_simulated(Path("m.onnx"))


def test_nothing_is_compiled_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlexport.npu import simulator

    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(MlexportError, match="and this is Darwin arm64: run it there"):
        simulator.require_compiler()
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(simulator, "find_spec", lambda name: None)
    with pytest.raises(
        MlexportError, match=r'needs onnxruntime-qnn, which is not installed: pip install "mlexport\[qnn\]"'
    ):
        simulator.require_compiler()


# Qualcomm's libraries stay in a process of their own
_SPLIT = """
import json, sys
from pathlib import Path
import onnxruntime as ort, onnxruntime_qnn as qnn
from mlexport.errors import MeasureError
from mlexport.runtime.providers import nodes_by_provider, require_taken
name = "QNNExecutionProvider"
ort.register_execution_provider_library(name, qnn.get_library_path())
device = next(device for device in ort.get_ep_devices() if device.ep_name == name)
answers = []
for path in sys.argv[1:]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    chip = {"soc_model": "57", "htp_arch": "75", "enable_htp_fp16_precision": "1"}
    options.add_provider_for_devices([device], {"backend_path": qnn.get_qnn_htp_path(), **chip})
    session = ort.InferenceSession(path, options)
    try:
        require_taken(session, name, Path(path))
        answers.append([nodes_by_provider(session), ""])
    except MeasureError as error:
        answers.append([nodes_by_provider(session), str(error)])
print("answers " + json.dumps(answers))
"""


def write_graph(path: Path, *kinds: str) -> Path:
    """A chain of nodes with one input each, on square matrices."""
    names = [*(f"x{number}" for number in range(len(kinds))), "out"]
    nodes = [helper.make_node(kind, [names[i]], [names[i + 1]], name=f"{kind}_{i}") for i, kind in enumerate(kinds)]
    shape = [2, 8, 8]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape[:1] if kinds[-1] == "Det" else shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_nodes_are_counted_by_the_provider_that_took_them(tmp_path: Path) -> None:
    """Qualcomm's compiler takes no determinant: that node is the CPU's; a graph of it alone is no run on the NPU."""
    pytest.importorskip("onnxruntime_qnn")
    both = write_graph(tmp_path / "both.onnx", "Relu", "Sigmoid", "Det")
    neither = write_graph(tmp_path / "neither.onnx", "Det")
    command = [sys.executable, "-c", _SPLIT, str(both), str(neither)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    [line] = [line for line in out.splitlines() if line.startswith("answers ")]
    assert json.loads(line.removeprefix("answers ")) == [
        [{"QNNExecutionProvider": 2, "CPUExecutionProvider": 1}, ""],
        [
            {"CPUExecutionProvider": 1},
            f"QNNExecutionProvider takes no node of {neither} (CPUExecutionProvider 1): this would be a run on the CPU",
        ],
    ]
