"""Errors in recipes: every one at once, with file and line, or with the option it came from; exact texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlexport.artifact import TEXT
from mlexport.errors import DocumentError, UsageError
from mlexport.pack import PLATFORM_NAMES
from mlexport.pack.platform import find_platform
from mlexport.recipe import Recipe
from mlexport.recipe_checks import PACKED
from mlexport.recipes import load_recipe, recipe_data

HEAD = "title: t\nwhom: w\n"


def problems(tmp_path: Path, text: str, *settings: str) -> list[str]:
    """What loading the recipe says, the file's name cut off."""
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        load_recipe(str(path), settings)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_every_error_at_once_types_and_rules_together(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "title: t\n"
        "wom: somebody\n"
        "cut:\n"
        "  layers: eight\n"
        "  depth: 3\n"
        "targets: [onnx, gguf]\n"
        "precision:\n"
        "  names: [int8, q5_k_m]\n"
        "  calibrat: builtin\n"
        "vocabulary:\n"
        "  keep: [32000, scripts:Latin, scripts:Klingon, everything]\n"
        "  coverage: 0.9\n"
        "static: 1x64\n"
        "profiles: [pixel-8-cpu, pixl-9-cpu]\n"
        "measure:\n"
        "  tokens: [64]\n"
        "demands:\n"
        "  max_size: forty\n"
        "  min_retention: 0.9\n",
    )
    assert found == [
        "1: missing key 'whom'",
        "2: unknown key 'wom': did you mean 'whom'?",
        "4: 'cut.layers': input should be a valid integer, unable to parse string as an integer, got 'eight'",
        "5: unknown key 'cut.depth' (known: layers, rank, dim, allow_untrained)",
        "8: 'precision.names[1]': precision 'q5_k_m' is not one of target onnx: choose from int8, int4, f32, f16, "
        "int8_b32, int4_b32, int4_b64, int4_b128, auto",
        "9: unknown key 'precision.calibrat': did you mean 'calibrate'?",
        "11: 'vocabulary.keep[2]': knows no script 'Klingon': expected names such as Latn, Cyrl, Arab, Jpan, or "
        "digits, punctuation, emoji",
        "11: 'vocabulary.keep[3]': 'everything' is none of 32000 (a number of tokens), scripts:Latn,Cyrl, corpus:FILE",
        "12: 'vocabulary.coverage' is for keep: corpus:FILE: name one, or leave it out",
        "13: 'static' is for targets onnx, openvino and qnn, not for gguf: leave one of them out",
        "14: 'profiles[1]': no profile 'pixl-9-cpu': the nearest are pixel-9-cpu, pixel-9-npu, pixel-9-gpu; "
        "`mlexport profiles ls` lists them, and a path must end in .yaml",
        "18: 'demands.max_size': 'forty' is not a size: expected a number with KB, MB or GB, such as 60MB",
        "19: 'demands.min_retention' has to be measured: set evaluation.retention: true",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("targets: [onx]", "'targets[0]': input should be 'gguf', 'hf', 'onnx', 'openvino' or 'qnn', got 'onx': did "
         "you mean 'onnx'?"),
        ("targets: []", "'targets': tuple should have at least 1 item after validation, not 0"),
        ("targets: [onnx, onnx]", "'targets[1]': onnx is there twice"),
        ("targets: [hf]\nprecision: {names: [f16, f32]}", "'precision.names': target hf holds one precision: make a "
         "recipe for each"),
        ("targets: [onnx]\nprecision: {names: [auto]}", "'precision.names': auto needs a bound: add "
         "precision.min_cosine: 0.99 or precision.max_size: 60MB"),
        ("targets: [onnx]\nprecision: {names: [auto], min_cosine: 0.99, table: int8}", "'precision.table': precision "
         "auto chooses the table's too: leave it out"),
        ("targets: [onnx]\nprecision: {min_cosine: 0.99}", "'precision.min_cosine' is for precision auto: name that in "
         "precision.names, or set demands.min_cosine instead"),
        ("targets: [hf]\nprecision: {names: [f16], calibrate: builtin}", "'precision.calibrate' is for targets that "
         "quantise, not for hf: leave one of them out"),
        ("targets: [onnx]\nprecision: {names: [f16], calibrate: builtin}", "'precision.calibrate' has nothing to round "
         "in f16: choose int8, int4 or auto"),
        ("targets: [onnx]\nprecision: {calibrate: gone.txt}", "'precision.calibrate': no file gone.txt: expected one, "
         "or builtin"),
        ("targets: [onnx]\nvocabulary: {keep: [corpus:gone.txt]}", "'vocabulary.keep[0]': no file gone.txt: expected "
         "texts, one a line, or .jsonl"),
        ("targets: [gguf]\ntext_in: true", "'text_in' is for targets onnx and openvino, not for gguf: leave one of "
         "them out"),
        ("targets: [onnx]\nstatic: 1x64", "'measure.tokens': a graph of fixed shapes 1x64 runs 64 alone, got 16, 128, "
         "512: set measure.tokens: [64]"),
        ("targets: [onnx]\nsoc: sm8650", "'soc' is for target qnn: add that to targets, or leave soc out"),
        ("targets: [qnn]\nprecision: {names: [f16]}\nsoc: sm1", "'soc': unknown chip 'sm1': choose from sm8450 "
         "(Snapdragon 8 Gen 1), sm8475 (Snapdragon 8+ Gen 1), sm8550 (Snapdragon 8 Gen 2), sm8650 (Snapdragon 8 Gen 3)"
         ", sm8750 (Snapdragon 8 Elite), sm8850 (Snapdragon 8 Elite Gen 5), sc8380xp (Snapdragon X Elite), sc8480xp "
         "(Snapdragon X2 Elite)"),
        ("targets: [onnx, qnn]\nprecision: {names: [f16]}", "'targets': qnn has fixed shapes: set static: 1x128 for "
         "all, or make qnn alone"),
        ("targets: [qnn]\nprecision: {names: [f16], vectors: int8}", "'precision.vectors': int8 needs a range from "
         "1,000 documents, hours in Qualcomm's simulator: f32, binary"),
        ("targets: [onnx]\nstatic: 64", "'static': input should be a valid string, got 64"),
        ("targets: [onnx]\nprofiles: [intel-npu]", "'profiles[0]': profile intel-npu takes fixed shapes alone: set "
         "static: 1x128"),
        ("targets: [gguf]\nprofiles: [intel-npu]", "'profiles[0]': profile intel-npu runs onnx, openvino, this recipe "
         "makes gguf: add one to targets"),
        ("targets: [onnx]\nprofiles: [pixel-8-npu]", "'profiles[0]': no runtime of profile pixel-8-npu runs what "
         "mlexport makes"),
        ("targets: [onnx]\ndemands: {max_latency_ms: 20}", "'demands.max_latency_ms' needs a device: name one or more "
         "in profiles"),
        ("targets: [onnx]\nprofiles: [local]\nmeasure: {tokens: [16]}\ndemands: {max_latency_ms: 20}",
         "'demands.max_latency_ms' is of 128 tokens: add 128 to measure.tokens"),
        ("targets: [onnx]\nevaluation: {sample: 5}", "'evaluation.sample' is for retention: set evaluation.retention: "
         "true"),
        ("targets: [onnx]\nevaluation: {retention: true, data: gone}", "'evaluation.data': no folder gone"),
        ("targets: [onnx]\ngrid: {}", "'grid' has no axis: add one, such as layers: [2, 4, 8], or leave the grid out"),
        ("targets: [onnx]\ngrid: {target: [ggml]}", "'grid.target[0]': unknown target 'ggml': choose from hf, gguf, "
         "onnx, openvino, qnn"),
        ("targets: [onnx]\ngrid: {precision: [q6_k]}", "'grid.precision[0]': none of onnx has a precision 'q6_k'"),
        ("targets: [onnx]\ngrid: {vocab: [~, 4000 latin]}", "'grid.vocab[1]': 'latin' is none of 32000 (a number of "
         "tokens), scripts:Latn,Cyrl, corpus:FILE"),
        ("targets: [onnx]\noutputs: {pack: [web, ios]}", "'outputs.pack[1]': ios runs onnx with text_in: true or gguf, "
         "this recipe makes onnx"),
        ("targets: [onnx]\noutputs: {pack: [windows]}", "'outputs.pack[0]': input should be 'android', 'ios', 'node', "
         "'python' or 'web', got 'windows'"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said(tmp_path: Path, text: str, expected: str) -> None:
    [found] = problems(tmp_path, f"{HEAD}{text}\n")
    line, _, what = found.partition(": ")
    assert what == expected
    assert 3 <= int(line) <= 6


def test_a_key_twice_does_not_hide_other_errors(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{HEAD}targets: [onnx]\ntitle: again\nstatic: big\n")
    assert found == [
        "4: 'title' is there twice",
        "5: 'static': 'big' is not a shape: expected BATCHxTOKENS with 2 tokens or more, such as 1x128",
    ]


def test_a_wrong_value_brings_no_second_error_for_what_depends_on_it(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{HEAD}targets: [onnx]\nevaluation:\n  retention: perhaps\n  sample: 5\n")
    assert found == [
        "5: 'evaluation.retention': input should be a valid boolean, unable to interpret input, got 'perhaps'"
    ]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("cut.layers", "--set cut.layers: expected KEY=VALUE, such as cut.layers=4"),
        ("cut.layer=4", "--set cut.layer: unknown key 'cut.layer': did you mean 'cut.layers'?"),
        ("layers=4", "--set layers: unknown key 'layers': did you mean 'cut.layers'?"),
        ("xyzzy=4", "--set xyzzy: unknown key 'xyzzy'; `mlexport recipes schema` has all"),
        ("cut.layers=0", "--set cut.layers: input should be greater than or equal to 1, got 0"),
        ("cut.layers=four", "--set cut.layers: input should be a valid integer, unable to parse string as an integer, "
         "got 'four'"),
        ("targets=gguf,onx", "--set targets: 'targets[1]': input should be 'gguf', 'hf', 'onnx', 'openvino' or 'qnn', "
         "got 'onx': did you mean 'onnx'?"),
        ("precision.names=int3", "--set precision.names: 'precision.names[0]': precision 'int3' is not one of target "
         "onnx: choose from int8, int4, f32, f16, int8_b32, int4_b32, int4_b64, int4_b128, auto"),
        ("demands.max_size=huge", "--set demands.max_size: 'huge' is not a size: expected a number with KB, MB or GB, "
         "such as 60MB"),
    ],
)  # fmt: skip
def test_a_wrong_setting_names_itself(tmp_path: Path, setting: str, expected: str) -> None:
    assert problems(tmp_path, f"{HEAD}targets: [onnx]\n", setting) == [expected]


def test_errors_of_file_and_settings_come_together(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{HEAD}targets: [onnx]\nfoo: 1\n", "cut.layer=4", "cut.dim=x")
    assert found == [
        "4: unknown key 'foo' (known: title, whom, model, cut, vocabulary, precision, targets, static, soc, "
        "text_in, profiles, evaluation, measure, demands, outputs, grid)",
        "--set cut.dim: input should be a valid integer, unable to parse string as an integer, got 'x'",
        "--set cut.layer: unknown key 'cut.layer': did you mean 'cut.layers'?",
    ]


@pytest.mark.parametrize(
    ("setting", "place", "value"),
    [
        ("cut.layers=4", "cut.layers", 4),
        ("cut.rank=null", "cut.rank", None),
        ("targets=gguf,onnx", "targets", ["gguf", "onnx"]),
        ("targets=[gguf, onnx]", "targets", ["gguf", "onnx"]),
        ("vocabulary.keep=8000", "vocabulary.keep", ["8000"]),
        ("vocabulary.keep=[8000, 'scripts:Latn,Cyrl']", "vocabulary.keep", ["8000", "scripts:Latn,Cyrl"]),
        ("measure.tokens=16,128", "measure.tokens", [16, 128]),
        ("demands.max_size=40000000", "demands.max_size", "40000000"),
        ("demands.max_latency_ms=20", "demands.max_latency_ms", 20.0),
        ("model=123", "model", "123"),
        ("evaluation.verify=sample", "evaluation.verify", "sample"),
        ("grid.layers=2,4", "grid.layers", [2, 4]),
        ("grid.rank=null,64", "grid.rank", [None, 64]),
        ("grid=null", "grid", None),
        ("cut={layers: 2, dim: 64}", "cut.dim", 64),
        ("outputs.report=false", "outputs.report", False),
    ],
)  # fmt: skip
def test_a_setting_has_the_type_of_its_key(tmp_path: Path, setting: str, place: str, value: object) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{HEAD}targets: [onnx]\nprofiles: [local]\nmeasure: {{tokens: [128]}}\n", encoding="utf-8")
    data: object = recipe_data(load_recipe(str(path), [setting]))
    for part in place.split("."):
        assert isinstance(data, dict)
        data = data[part]
    assert data == value


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("androd-serch")
    assert str(caught.value) == (
        "no recipe 'androd-serch': the nearest are android-search; `mlexport recipes ls` lists "
        "them, and a path ends in .yaml"
    )
    with pytest.raises(UsageError, match=r"no recipe gone/mine\.yaml: there is no such file"):
        load_recipe("gone/mine.yaml")


def test_the_smallest_recipe_takes_every_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{HEAD}targets: [onnx]\n", encoding="utf-8")
    assert load_recipe(str(path)) == Recipe(title="t", whom="w", targets=("onnx",))


def test_what_a_pack_runs_is_what_packs_say() -> None:
    for platform, targets in PACKED.items():
        kits = find_platform(platform).kits
        found = [kit.target + ("+text" if kit.target == "onnx" and kit.takes == TEXT else "") for kit in kits]
        assert tuple(found) == targets
    assert set(PACKED) == set(PLATFORM_NAMES)
