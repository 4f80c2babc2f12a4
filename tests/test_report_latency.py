"""Files of results joined into one report: artifacts, devices, choices, and the report as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlexport.errors import UsageError
from mlexport.latency import BenchResult, EstimateResult
from mlexport.report import publish
from mlexport.report.described import describe
from mlexport.report.latency import Report
from mlexport.report.latency_build import Named, build
from mlexport.report.latency_data import CSV_COLUMNS, report_csv, report_data
from mlexport.report.markdown import escape, report_markdown
from mlexport.report.pareto import front
from tests import latency_files as files


def named(result: BenchResult | EstimateResult, name: str = "result.json") -> Named:
    """As if it had been read from a file."""
    trusted = result.trusted if isinstance(result, BenchResult) else None
    origin = publish.Source(
        file=name, sha256="0" * 64, kind=result.kind, tool=result.tool, created=result.created, trusted=trusted
    )
    return Named(source=origin, result=result)


def report_of(*results: BenchResult | EstimateResult, tokens: int = 128, least: float = 0.95) -> Report:
    """A report of results."""
    return build([named(one) for one in results], tool="mlexport", created="now", tokens=tokens, min_retention=least)


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(st.integers(0, 6), min_size=width, max_size=width), min_size=1, max_size=40)
    )
)
def test_the_front_is_what_brute_force_finds(costs: list[list[int]]) -> None:
    def beats(one: Sequence[int], other: Sequence[int]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and any(
            a < b for a, b in zip(one, other, strict=True)
        )

    assert list(front(costs)) == [not any(beats(other, one) for other in costs) for one in costs]


def test_a_front_of_many_rows_is_found_in_blocks() -> None:
    generator = np.random.default_rng(0)
    costs = generator.uniform(size=(2000, 2))
    order = np.argsort(costs[:, 0])
    lowest = np.minimum.accumulate(costs[order, 1])
    expected = {int(i) for place, i in enumerate(order) if place == 0 or costs[i, 1] < lowest[place - 1]}
    assert {i for i, best in enumerate(front(costs.tolist())) if best} == expected
    assert front([]) == ()
    with pytest.raises(ValueError, match="finite"):
        front([[math.nan, 1.0]])


def test_rows_hold_the_percentiles_of_their_samples() -> None:
    result = files.bench(count=2)
    report = report_of(result)
    assert len(report.rows) == len(result.runs)
    for row, run in zip(report.rows, result.runs, strict=True):
        expected = np.percentile(np.array(run.samples_ns) / 1e6, [50, 90, 99])
        assert row.times is not None
        assert (row.times.p50_ms, row.times.p90_ms, row.times.p99_ms) == pytest.approx(expected)
        calls_a_second = len(run.samples_ns) / (run.wall_ns / 1e9)
        assert row.tokens_per_s == pytest.approx(calls_a_second * run.batch * run.tokens)


def test_an_artifact_of_two_files_is_one_and_what_one_file_knows_is_kept() -> None:
    measured, estimated = files.bench(count=2), files.estimate("pixel-8-cpu", count=3)
    bare = replace(measured, subjects=tuple(replace(one, retained=None) for one in measured.subjects))
    report = report_of(bare, estimated)
    assert [one.number for one in report.subjects] == [1, 2, 3]
    assert report.subjects[0].subject.retained == estimated.subjects[0].retained


def test_other_weights_under_the_same_name_are_told_apart() -> None:
    one, other = files.bench(count=1), files.bench(count=1)
    other = replace(other, subjects=(replace(other.subjects[0], sha256="ab" * 32),))
    report = report_of(one, other)
    old, new = (shown.name for shown in report.subjects)
    assert new == f"{files.subjects()[0].name} [abababab]"
    assert old != new
    assert {row.subject for row in report.rows} == {old, new}


def test_the_same_profile_on_two_machines_is_two_devices() -> None:
    report = report_of(
        files.bench(count=1),
        files.bench(count=1, processor="Cortex-A76", where="ssh://pi@board"),
        files.estimate("local"),
    )
    names = [device.name for device in report.devices]
    assert names == ["local (Intel Xeon Platinum 8481C)", "local (Cortex-A76 · ssh://pi@board)", "local"]
    assert [device.where for device in report.devices] == ["here", "ssh://pi@board", None]


def test_measured_and_estimated_stand_beside_each_other_on_one_device() -> None:
    report = report_of(files.bench(), files.estimate("local"))
    assert [device.name for device in report.devices] == ["local"]
    assert {row.kind for row in report.reference("local")} == {"measured", "estimated"}
    # What was measured decides
    assert report.choices[0].row.measured


def test_the_fastest_that_keeps_enough_is_recommended() -> None:
    result = files.bench()
    kept = {one.name: one.retained for one in result.subjects}
    for least in (0.8, 0.95, 0.98, 0.999):
        report = report_of(result, least=least)
        middle = {
            run.subject: float(np.median(run.samples_ns))
            for run in result.runs
            if (run.tokens, run.batch, run.streams) == (128, 1, 1)
        }
        enough = [name for name, share in kept.items() if share is not None and share >= least]
        assert report.choices[0].row.subject == min(enough, key=lambda name: middle[name])
        assert f"at least {100 * least:.1f}%" in report.choices[0].text


def test_of_two_that_are_as_fast_the_smaller_is_recommended() -> None:
    result = files.bench(count=2)
    small, large = result.subjects[1], result.subjects[0]
    runs = [run for run in result.runs if run.subject == large.name]
    # 3% slower than the large one
    slower = [replace(run, subject=small.name, samples_ns=tuple(int(1.03 * s) for s in run.samples_ns)) for run in runs]
    report = report_of(replace(result, runs=(*runs, *slower)))
    assert report.choices[0].row.subject == small.name
    assert "within 5% of it and smaller" in report.choices[0].text


def test_where_none_keeps_enough_the_best_is_recommended_and_said_to_be_short() -> None:
    result = files.bench()
    subjects = tuple(
        replace(one, retained=None if one.retained is None else one.retained * 0.5) for one in result.subjects
    )
    choice = report_of(replace(result, subjects=subjects)).choices[0]
    assert choice.row.subject == files.subjects()[0].name
    assert "None of 7 keeps the 95.0% asked for" in choice.text


def test_without_measured_quality_it_is_about_speed_and_says_so() -> None:
    result = files.bench()
    report = report_of(replace(result, subjects=tuple(replace(one, retained=None) for one in result.subjects)))
    assert "was not measured" in report.choices[0].text
    assert report.choices[0].row.ms <= 1.05 * min(row.ms for row in report.reference("local"))


def test_what_is_warned_of_is_recommended_only_where_no_other_keeps_enough() -> None:
    estimated = files.estimate("pixel-8-cpu")
    best = report_of(estimated).choices[0].row.subject
    over = ("the model file has 900 MB, the limit is 500 MB",)
    warned = replace(
        estimated,
        estimates=tuple(replace(one, warnings=over if one.subject == best else ()) for one in estimated.estimates),
    )
    choice = report_of(warned).choices[0]
    assert choice.row.subject != best
    assert "It is the fastest without a warning, of 6 that keep at least 95.0%" in choice.text
    assert f"pixel-8-cpu: {best}: {over[0]}." in report_of(warned).warnings
    everything = replace(warned, estimates=tuple(one for one in warned.estimates if one.subject == best))
    assert report_of(everything).choices[0].others[0] == f"Mind: {over[0]}."


def test_the_summary_speaks_of_the_nearest_length() -> None:
    report = report_of(files.bench(lengths=(16, 64, 512)), files.estimate("pixel-8-cpu", lengths=(256,)), tokens=128)
    assert report.lengths == {"local": 64, "pixel-8-cpu": 256}
    assert "A text of 64 tokens" in report.choices[0].text


def test_noise_small_samples_and_refusals_are_said() -> None:
    report = report_of(files.bench(noisy=True, samples=50), files.estimate("intel-npu"))
    warnings = " ".join(report.warnings)
    assert (
        "local: 8 of 64 measured runs are hard to trust (The hypervisor took 4.1% of the processor's time (steal) and "
        "The rounds' medians differ by 18%). Measure again on a quiet machine."
    ) in warnings
    assert "64 of 64 measured runs have fewer than 100 calls" in warnings
    assert {one.reason for one in report.refused} == {
        "the NPU needs fixed shapes, and this graph's are dynamic: slice with --static 1x128"
    }
    assert "No estimate was given for 6 artifacts (intel-npu)" in " ".join(report.summary)
    assert "No estimate was given for 6 others" in report.choices[1].text


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_cannot_be_is_an_error_that_names_the_file(bad: float) -> None:
    result = files.estimate("pixel-8-cpu", count=1)
    wrong = replace(result, estimates=(replace(result.estimates[0], ms=bad),))
    with pytest.raises(UsageError, match=r"^result.json: a time or ratio of .* cannot be"):
        report_of(wrong)


def test_a_run_of_an_unknown_subject_is_an_error_that_names_the_file() -> None:
    result = files.bench(count=1)
    wrong = replace(result, runs=(replace(result.runs[0], subject="other"),))
    with pytest.raises(UsageError, match=r"^result\.json: 'other' has a time, but is not among the file's subjects$"):
        report_of(wrong)
    with pytest.raises(UsageError, match="nothing to report"):
        report_of(replace(result, runs=(), ratios=()))


def test_json_has_the_names_of_ai_hub_and_ours() -> None:
    measured, estimated = files.bench(count=3), files.estimate("intel-npu", count=5)
    data = json.loads(json.dumps(report_data(report_of(measured, estimated))))
    first, run = data["performance"][0], measured.runs[0]
    assert first["inference_time_milliseconds"] == pytest.approx(float(np.median(run.samples_ns)) / 1e6)
    assert first["estimated_peak_memory_range_mb"] == {"min": run.resident_bytes / 1e6, "max": run.peak_bytes / 1e6}
    assert (first["memory_kind"], first["kind"]) == ("measured", "measured")
    assert first["primary_compute_unit"] == "CPU"
    assert first["layer_counts"] == {"total": 214, "npu": 0, "gpu": 0, "cpu": 214}
    assert first["tool_versions"]["onnxruntime"] == "1.32.0"
    assert first["file_sha256"] == measured.subjects[0].sha256
    assert first["samples_ns"] == list(run.samples_ns)
    assert (first["warm_up_calls"], first["threads"], first["tokens"]) == (10, 2, run.tokens)
    assert first["load_time_milliseconds"] == run.load_ns / 1e6
    assert first["first_call_milliseconds"] == run.first_call_ns / 1e6
    assert set(first["percentiles_milliseconds"]) >= {"p50", "p90", "p99"}
    guessed = data["performance"][-1]
    assert (guessed["kind"], guessed["primary_compute_unit"], guessed["samples_ns"]) == ("estimated", "NPU", [])
    assert guessed["inference_time_range_milliseconds"]["min"] < guessed["inference_time_milliseconds"]
    assert {one["kind"] for one in data["performance"]} == {"measured", "estimated"}
    assert data["refused"][0]["reason"].startswith("the NPU needs fixed shapes")
    assert data["recommended"][0]["artifact"] in {one["name"] for one in data["artifacts"]}


def test_csv_is_a_line_a_latency() -> None:
    report = report_of(files.bench(count=3), files.estimate("intel-npu", count=5))
    lines = list(csv.DictReader(io.StringIO(report_csv(report))))
    assert list(lines[0]) == list(CSV_COLUMNS)
    assert len(lines) == len(report.rows) + len(report.refused)
    for line, row in zip(lines, report.rows, strict=False):
        assert (line["artifact"], line["device"], line["kind"]) == (row.subject, row.device, row.kind)
        assert float(line["ms"]) == row.ms
        assert (line["p99_ms"] == "") == (row.kind == "estimated")
    refused = [line for line in lines if line["refused"]]
    assert len(refused) == len(report.refused)
    assert all(line["ms"] == "" for line in refused)


def test_csv_holds_names_that_would_break_it_and_no_formulas() -> None:
    nasty = '=HYPERLINK("http://example.org";"x"),\n"y"'
    result = files.bench(count=1)
    report = report_of(files.renamed(result, result.subjects[0].name, nasty))
    lines = list(csv.DictReader(io.StringIO(report_csv(report))))
    assert {line["artifact"] for line in lines} == {f"'{nasty}"}


NASTY = "a|b <script>alert(1)</script> `c` *d* [e](javascript:f) ![g](h) \\ # _i_\n| --- |"


def test_markdown_tables_are_tables_and_names_stay_text() -> None:
    plain = report_of(files.bench(count=2), files.estimate("intel-npu"))
    result = files.bench(count=2)
    broken = report_of(files.renamed(result, result.subjects[0].name, NASTY), files.estimate("intel-npu"))
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")

    def shape(report: Report) -> list[str]:
        tokens = reader.parse(report_markdown(report))
        kinds = [token.type for token in tokens]
        kinds += [child.type for token in tokens for child in token.children or () if child.type != "softbreak"]
        return sorted(kind for kind in kinds if kind != "text_special")

    assert shape(plain).count("table_open") >= 12
    assert not any("html" in kind for kind in shape(broken))
    # Another artifact than the estimated one: the same with one row a table more, so kinds are compared, not counts
    assert set(shape(broken)) == set(shape(plain))
    html = reader.render(report_markdown(broken))
    assert "<script" not in html
    assert "href" not in html
    assert "a|b &lt;script&gt;alert(1)&lt;/script&gt; `c` *d*" in html


@given(st.text(max_size=60))
def test_escaped_text_is_read_back_as_it_was(text: str) -> None:
    flat = " ".join(text.split())
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(f"| a |\n| --- |\n| x{escape(text)}x |\n")
    cell = html.split("<td>")[1].split("</td>")[0]
    # NUL is not text to CommonMark
    expected = f"x{flat}x".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    assert cell == expected.replace("\0", "\ufffd")


def test_what_cannot_be_shown_is_replaced_everywhere(tmp_path: Path) -> None:
    result = files.renamed(files.bench(count=1), files.subjects()[0].name, "a\x00b\u202ec\ud800d")
    path = tmp_path / "result.json"
    path.write_text(json.dumps(asdict(result)), encoding="utf-8")
    read = publish.read_named(path).result
    assert [one.name for one in read.subjects] == ["a\ufffdb\ufffdc\ufffdd"]
    assert isinstance(read, BenchResult)
    assert {run.subject for run in read.runs} == {"a\ufffdb\ufffdc\ufffdd"}
    assert read.runs[0].samples_ns == result.runs[0].samples_ns


def test_shipped_profiles_are_called_by_their_device_and_paths_are_not_followed() -> None:
    found = describe(["pixel-8-cpu", "local", "../secret.yaml", "no-such-thing", "pixel-8"])
    assert list(found) == ["pixel-8-cpu", "local"]
    assert found["pixel-8-cpu"].words.startswith("Pixel 8 · Tensor G3")
    assert (found["pixel-8-cpu"].unit, found["local"].words) == ("CPU", "")


def test_a_runner_that_keeps_no_samples_is_shown_as_measured_by_its_median() -> None:
    """As OpenVINO's benchmark_app on a phone: a median, and neither samples, load nor memory."""
    result = files.bench(count=1, lengths=(128,))
    bare = [
        replace(
            run,
            samples_ns=(),
            tokenise_ns=(),
            end_to_end_ns=(),
            summary_ns={"median": 7_250_000, "least": 7_000_000, "most": 9_000_000},
            **dict.fromkeys(("load_ns", "first_call_ns", "wall_ns", "cpu_ns", "resident_bytes", "peak_bytes")),
        )
        for run in result.runs[:1]
    ]
    report = report_of(replace(result, runs=tuple(bare), ratios=()))
    [row] = report.rows
    assert (row.kind, row.ms, row.high_ms, row.times, row.load_ms) == ("measured", 7.25, 9.0, None, None)
    text = report_markdown(report)
    assert "7.25" in text
    assert "estimated" not in text.split("## ")[1]
