"""The section of a report about a sweep: fronts, heat maps, and what each axis buys."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from statistics import median

import pytest

from mlexport.report import plots_sweep, sweep
from mlexport.report.latency import Report
from mlexport.report.latency_build import build
from mlexport.report.latency_data import report_csv, report_data
from mlexport.report.markdown import report_markdown
from mlexport.report.page import report_page
from mlexport.report.pareto import Point
from mlexport.report.svg import StyleSheet
from tests import latency_files as files

POINTS = files.sweep_points()


def report_of(points: tuple[Point, ...]) -> Report:
    """A report of a sweep alone."""
    return build([], tool="mlexport", created="now", points=points)


def test_the_front_of_a_device_is_what_brute_force_finds() -> None:
    for own in sweep.by_device(POINTS).values():
        found = {point.name for point in sweep.point_front(own)}
        costs = {p.name: (p.ms or 0, p.bytes, -(p.retained or 0)) for p in own}
        expected = {
            name
            for name, one in costs.items()
            if not any(
                other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in costs.values()
            )
        }
        assert found == expected
        assert 3 < len(found) < len(own)


def test_points_without_a_time_or_quality_are_not_on_the_front() -> None:
    some = [POINTS[0], replace(POINTS[1], ms=None, bytes=1), replace(POINTS[2], retained=None, bytes=1)]
    assert sweep.point_front(some) == [POINTS[0]]
    untimed = [replace(point, ms=None, ms_kind=None) for point in POINTS[:20]]
    best = sweep.point_front(untimed)
    assert best == sorted(best, key=lambda point: point.bytes)
    assert [point.retained for point in best] == sorted(point.retained or 0 for point in best)


def test_a_heat_map_holds_the_best_of_each_cell() -> None:
    best = sweep.best_by(POINTS, "layers", "rank")
    assert set(best) == {(layers, rank) for layers in (4, 6, 8, 12) for rank in (32, 64, float("inf"))}
    for (layers, rank), point in best.items():
        same = [p.retained for p in POINTS if p.layers == layers and (p.rank or float("inf")) == rank]
        assert point.retained == max(same)
    drawing = ET.fromstring(
        plots_sweep.quality_map(best, sweep.quality_of(POINTS), StyleSheet(), row="layers", column="rank")
    )
    words = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    for point in best.values():
        assert f"{100 * (point.retained or 0):.1f}" in words
    assert {"whole", "32", "64", "4", "12", "rank"} <= set(words)


def test_a_step_is_the_median_over_pairs_that_differ_in_nothing_else() -> None:
    found = {(one.axis, one.before, one.after): one for one in sweep.steps(POINTS)}
    assert [key for key in found if key[0] == "layers"] == [
        ("layers", *p) for p in (("12", "8"), ("8", "6"), ("6", "4"))
    ]
    assert [key[1:] for key in found if key[0] == "rank"] == [("whole", "64"), ("64", "32")]
    # Names go from the most bytes to the fewest
    assert [key[1:] for key in found if key[0] == "precision"] == [("f32", "int8"), ("int8", "int4")]
    step = found["layers", "12", "8"]
    rest = {(p.device, p.rank, p.dim, p.precision): p for p in POINTS if p.layers == 12}
    pairs = [(rest[p.device, p.rank, p.dim, p.precision], p) for p in POINTS if p.layers == 8]
    assert step.pairs == len(pairs) == 72
    assert step.bytes == pytest.approx(median(b.bytes / a.bytes for a, b in pairs))
    assert step.ms == pytest.approx(median((b.ms or 0) / (a.ms or 1) for a, b in pairs))
    assert step.quality == pytest.approx(median((b.retained or 0) - (a.retained or 0) for a, b in pairs))


def test_a_measured_time_is_not_set_against_an_estimated_one() -> None:
    first = replace(POINTS[0], layers=4, ms_kind="measured", ms=1.0)
    second = replace(first, layers=8, ms_kind="estimated", ms=9.0)
    assert next(iter(sweep.steps([first, second]))).ms is None


def test_cosine_stands_in_only_where_no_point_knows_what_is_kept() -> None:
    without = [replace(point, retained=None) for point in POINTS[:6]]
    assert sweep.quality_of(without) is sweep.cosine
    mixed = [*without, POINTS[7]]
    assert sweep.point_front(mixed) == [POINTS[7]]


def test_every_form_shows_the_sweep() -> None:
    report = report_of(POINTS)
    page = report_page(report)
    for words in (
        "What each axis buys",
        "Best quality by layers and dim",
        "Pareto front: local",
        "Pareto front: pixel-8-cpu",
    ):
        assert words in page
    assert page.count("<title>L") == len(POINTS) + 16 + 12
    assert "measured" in page
    assert "estimated" in page
    markdown = report_markdown(report)
    assert "| layers | 12 → 8 |" in markdown
    assert "### Not beaten on pixel-8-cpu" in markdown
    data = json.loads(json.dumps(report_data(report)))
    assert len(data["sweep"]) == len(POINTS)
    lines = list(csv.DictReader(io.StringIO(report_csv(report))))
    assert [(line["artifact"], float(line["ms"])) for line in lines] == [(p.name, p.ms) for p in POINTS]
    assert lines[0]["spec"] == "L4-R32-D32"


def test_a_sweep_without_times_or_axes_is_shown_too() -> None:
    bare = tuple(replace(point, device="", ms=None, ms_kind=None) for point in POINTS[:3])
    page = report_page(report_of(bare))
    assert "Pareto front" in page
    assert "Best quality by" not in page
    assert re.search(r"<text[^>]*>MB to ship</text>", page)
    lone = report_page(report_of((replace(POINTS[0], retained=None, cosine=None),)))
    assert "Not beaten on local: 0 of 1 cut" in lone


def test_names_of_a_sweep_do_not_become_elements() -> None:
    nasty = replace(POINTS[0], name="<script>alert(1)</script>", precision="<b>", device='"><img src=x>')
    page = report_page(report_of((nasty, *POINTS[1:12])))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
