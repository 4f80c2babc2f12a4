"""Time of a call from figures: arithmetic by hand, ranges, refusals, and the fit against SciPy's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlexport.errors import UsageError
from mlexport.estimate.accuracy import Accuracy, read_accuracy
from mlexport.estimate.calibrated import profile_data, profile_of, profile_yaml
from mlexport.estimate.figures import Rate, figures_for, precision_of
from mlexport.estimate.fit import Measured, fit, non_negative
from mlexport.estimate.memory import resident_bytes
from mlexport.estimate.model import parts, pieces
from mlexport.estimate.run import Counted, Settings, estimate, estimate_all
from mlexport.estimate.work import Lookup, Product, Rows, Work, layer_attentions
from mlexport.latency import CALIBRATED, PUBLISHED, Subject
from mlexport.profile import DeviceProfile, Grade, Profile
from mlexport.profiles import load_profile
from mlexport.spec import Target

SOURCE = "a test"
ACCURACY = {
    name: Accuracy(cases=20, median_error=0.1, p90_error=0.2, factor=factor, coverage=0.9, what="a test")
    for name, factor in ((CALIBRATED, 1.25), (PUBLISHED, 1.5))
}
SUBJECT = Subject(
    name="L2-D8 onnx f32",
    artifact=None,
    model="demo",
    spec="L2-D8",
    target="onnx",
    variant="f32",
    precision="f32",
    sha256=None,
    bytes=1000,
    cosine=None,
    retained=None,
)


def figure(value: float, grade: str = "published", **more: Any) -> dict[str, Any]:
    return {"value": value, "grade": grade, "source": SOURCE, **more}


def make_profile(kind: str = "cpu", **unit: Any) -> Profile:
    runtime = {
        "name": "onnxruntime",
        "targets": ["onnx"],
        "precisions": ["f32"],
        "source": SOURCE,
        "grade": "published",
    }
    content = {"name": "Unit", "kind": kind, "shapes": "dynamic", "runtimes": [runtime], **unit}
    device = DeviceProfile.model_validate({"device": "D", "chip": "C", "form": "any", "units": {kind: content}})
    return Profile(name=f"d-{kind}", device=device, unit=device.units[kind])  # type: ignore[index]


def make_work(
    scheme: str = "f32",
    *,
    target: Target = Target.ONNX,
    layers: int = 2,
    hidden: int = 1000,
    shape: tuple[int, int] | None = None,
    operators: Iterable[str] = (),
) -> Work:
    size = {"f32": 4, "int8": 1}.get(scheme, 2)
    products = tuple(
        Product(
            name=f"layers.{layer}.self_attn.{name}_proj.weight",
            scheme=scheme,
            rows=Rows.TOKEN,
            columns=hidden,
            outputs=hidden,
            bytes=size * hidden * hidden,
        )
        for layer in range(layers)
        for name in "kq"
    )
    return Work(
        target=target,
        products=products,
        attentions=layer_attentions(layers, 10, hidden // 10, last=Rows.TOKEN),
        lookups=(Lookup(name="embed_tokens.weight", scheme="f32", bytes=4 * hidden, table_bytes=4000 * hidden),),
        shape=shape,
        operators=tuple(operators),
        hidden=hidden,
        vocabulary=1000,
    )


def none_missing(operators: Iterable[str], which: str) -> tuple[str, ...]:
    return ()


def estimated(work: Work, profile: Profile, tokens: int = 100, batch: int = 1, missing: Any = none_missing) -> Any:
    one = Counted(subject=SUBJECT, work=work, file_bytes=10**6)
    return estimate(one, profile, tokens=tokens, batch=batch, accuracy=ACCURACY, unsupported=missing)


def test_time_is_overhead_and_operations_over_throughput() -> None:
    profile = make_profile(effective={"f32": figure(0.1)}, overhead_ms=figure(2))
    found = estimated(make_work(), profile)
    products = 4 * 2 * 100 * 1000 * 1000 / 0.1e12 * 1e3
    attention = 2 * 4 * 100 * 100 * 1000 / 0.1e12 * 1e3
    assert found.ms == pytest.approx(2 + products + attention)
    assert {part.name: part.bound for part in found.parts} == {
        "products f32": "compute",
        "attention": "compute",
        "table": "bandwidth",
        "overhead": "overhead",
    }
    assert (found.low_ms, found.high_ms) == (pytest.approx(found.ms / 1.5), pytest.approx(found.ms * 1.5))
    assert found.coverage == 0.9


def test_weights_are_read_from_memory_where_that_takes_longer() -> None:
    profile = make_profile(effective={"f32": figure(10)}, bandwidth_gb_s=figure(1))
    [products] = [part for part in estimated(make_work(), profile, tokens=2).parts if part.name == "products f32"]
    assert (products.bound, products.ms) == ("bandwidth", pytest.approx(4 * 4e6 / 1e9 * 1e3))


def test_weights_that_fit_the_cache_are_not() -> None:
    profile = make_profile(effective={"f32": figure(10)}, bandwidth_gb_s=figure(1), cache_mb=figure(100))
    [products] = [part for part in estimated(make_work(), profile, tokens=2).parts if part.name == "products f32"]
    assert products.bound == "compute"


def test_range_has_the_figures_own_range() -> None:
    profile = make_profile(effective={"f32": figure(1, low=0.5, high=4)})
    found = estimated(make_work(), profile)
    assert found.low_ms == pytest.approx(found.ms / 4 / 1.5)
    assert found.high_ms == pytest.approx(found.ms / 0.5 * 1.5)


def test_an_assumed_figure_is_no_checked_one() -> None:
    found = estimated(make_work(), make_profile(effective={"f32": figure(1, "assumed")}))
    assert found.coverage is None
    assert found.high_ms == pytest.approx(found.ms * 2 * 1.5)


def test_runtime_of_its_own_goes_before_the_precision_alone() -> None:
    work = make_work("int8")
    profile = make_profile(effective={"int8": figure(1), "onnxruntime/int8": figure(0.5)})
    assert figures_for(profile, work).products["int8"].value == 0.5


def test_what_stands_in_is_assumed_and_said() -> None:
    found = estimated(make_work("int4_b32"), make_profile(effective={"int8": figure(1)}))
    assert found.warnings[0] == "no throughput of int4 in d-cpu: int8 stands in for it"
    assert {one.grade for one in found.figures if "int4" in one.name} == {"assumed"}


def test_npus_compute_f32_files_in_f16() -> None:
    profile = make_profile("npu", effective={"f16": figure(5)})
    assert not estimated(make_work(), profile).warnings


@pytest.mark.parametrize(
    ("scheme", "precision"),
    [
        ("int8_b32", "int8"),
        ("int4_sym_b64", "int4"),
        ("q8_0", "int8"),
        ("q6_k", "int8"),
        ("q4_k", "int4"),
        ("iq4_nl", "int4"),
        ("f16", "f16"),
        ("bf16", "bf16"),
        ("w8a16", "w8a16"),
    ],
)
def test_schemes_and_their_precision(scheme: str, precision: str) -> None:
    assert precision_of(scheme) == precision


def test_dynamic_shapes_are_refused_on_an_npu() -> None:
    profile = make_profile("npu", shapes="static", effective={"f16": figure(5)})
    found = estimated(make_work(), profile)
    assert found.ms is None and found.memory_bytes is None and found.parts == ()
    assert found.refused == (
        "Unit takes fixed shapes alone, this graph takes texts of any length: pass --static 1x128 to `mlexport slice`, "
        "or to this command for a cut"
    )


def test_operators_off_the_list_are_refused() -> None:
    profile = make_profile("npu", shapes="static", operators="qnn-htp", effective={"f16": figure(5)})

    def without_scan(operators: Iterable[str], which: str) -> tuple[str, ...]:
        assert which == "qnn-htp"
        return tuple(name for name in operators if name == "Scan")

    work = make_work(shape=(1, 100), operators=("MatMul", "Scan"))
    assert estimated(work, profile, missing=without_scan).refused == (
        "Unit has no Scan on its list of operators (qnn-htp): choose a precision whose graph has none of them, such as "
        "--precision f32 (computed in f16 there)"
    )
    assert estimated(replace(work, operators=("MatMul",)), profile, missing=without_scan).refused is None


def test_a_unit_without_a_runtime_for_the_target_is_refused() -> None:
    found = estimated(make_work(target=Target.GGUF), make_profile(effective={"f32": figure(1)}))
    assert found.refused == "d-cpu has no runtime for target gguf: it takes onnx"


def test_a_fixed_shape_is_estimated_at_that_shape() -> None:
    one = Counted(subject=SUBJECT, work=make_work(shape=(2, 64)), file_bytes=1)
    settings = Settings(tokens=(16, 128), batches=(1,))
    result = estimate_all([one], [make_profile(effective={"f32": figure(1)})], settings, ACCURACY, none_missing)
    assert [(found.batch, found.tokens) for found in result.estimates] == [(2, 64)]
    assert result.kind == "estimated"
    assert any("median error 10%" in sentence for sentence in result.method)


def test_limits_that_are_passed_are_warned_of() -> None:
    profile = make_profile(effective={"f32": figure(1)}, limits={"file_mb": figure(0.5), "memory_mb": figure(1)})
    warnings = estimated(make_work(hidden=10_000), profile).warnings
    assert warnings[0] == "the model file has 1 MB, the limit of d-cpu is 0 MB: a test"
    assert "MB of memory, an app on d-cpu gets 1 MB: a test" in warnings[1]
    assert "WebGPU" in warnings[2]


def test_memory_of_llama_cpp_grows_with_the_vocabulary() -> None:
    work = make_work("q8_0", target=Target.GGUF)
    more = replace(work, vocabulary=100_000)
    assert resident_bytes(more, 128, 1) - resident_bytes(work, 128, 1) == 4 * 128 * 99_000


def test_rates_between_rows_lie_between() -> None:
    rate = Rate(
        name="", unit="", value=1, low=1, high=1, by_rows=((16, 1.0), (64, 2.0)), grade=Grade.MEASURED, source=SOURCE
    )
    assert (rate.at(1), rate.at(16), rate.at(64), rate.at(999)) == (1.0, 1.0, 2.0, 2.0)
    # Half way in the logarithm: the mean of the times
    assert rate.at(32) == pytest.approx(1 / 0.75)


def test_least_squares_are_scipys() -> None:
    from scipy.optimize import nnls

    random = np.random.default_rng(3)
    for _ in range(5):
        matrix, target = random.random((30, 8)) - 0.3, random.random(30)
        np.testing.assert_allclose(non_negative(matrix, target), nnls(matrix, target)[0], atol=1e-6)


def truth(work: Work, tokens: int) -> float:
    """Seconds of a machine that does 0.2 TFLOP/s in products, half of it in attention, with 5 GB/s between."""
    products = sum(2 * tokens * p.columns * p.outputs for p in work.products) / 0.2e12
    attention = sum(4 * tokens * tokens * a.heads * a.head_dim for a in work.attentions) / 0.1e12
    between = sum(4 * tokens * (p.columns + p.outputs) for p in work.products) / 5e9
    return products + attention + between + 20e-6 * work.steps + 0.5e-3


def test_a_fit_predicts_what_it_has_not_seen() -> None:
    def times(layers: int, hidden: int) -> list[Measured]:
        work = make_work(layers=layers, hidden=hidden)
        return [Measured(work=work, tokens=t, seconds=truth(work, t)) for t in (16, 64, 128, 256, 512)]

    seen = [one for layers, hidden in ((2, 250), (8, 250), (1, 1000), (2, 1000)) for one in times(layers, hidden)]
    found = fit(seen)
    assert max(map(abs, found.errors)) < 0.02
    profile = profile_of({Target.ONNX: found}, 1000.0, ["a test"])
    for one in times(6, 500):
        figures = figures_for(profile, one.work)
        ms = sum(piece.ms for piece in pieces(one.work, figures, one.tokens, 1))
        assert ms == pytest.approx(1e3 * one.seconds, rel=0.05)


def test_a_calibration_is_a_profile(tmp_path: Any) -> None:
    work = make_work("int8")
    found = fit([Measured(work=work, tokens=tokens, seconds=truth(work, tokens)) for tokens in (16, 128)])
    file = tmp_path / "mine.yaml"
    file.write_text(profile_yaml(profile_data({Target.ONNX: found}, 10.0, ["a test"]), file), encoding="utf-8")
    profile = load_profile(str(file))
    assert profile.unit.times["onnxruntime"].schemes["int8"].grade is Grade.MEASURED
    assert set(profile.unit.effective) == {"onnxruntime/int8"}
    one = estimated(work, profile)
    assert one.high_ms == pytest.approx(1.25 * one.ms)
    assert {figure.grade for figure in one.figures} == {"measured"}


def test_a_part_is_the_sum_of_its_pieces() -> None:
    profile = make_profile(effective={"f32": figure(1)}, overhead_ms=figure(1))
    found = list(pieces(make_work(), figures_for(profile, make_work()), 64, 2))
    assert sum(part.ms for part in parts(found)) == pytest.approx(sum(piece.ms for piece in found))


def test_every_shipped_estimate_says_how_far_it_was_off() -> None:
    found = read_accuracy()
    assert set(found) == {CALIBRATED, PUBLISHED}
    assert all(one.cases >= 20 and one.coverage >= 0.85 for one in found.values())


def test_no_throughput_is_an_error() -> None:
    with pytest.raises(UsageError, match="no effective throughput for f32"):
        figures_for(make_profile(effective={"int8": figure(1)}), make_work())
