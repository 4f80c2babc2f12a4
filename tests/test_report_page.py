"""The HTML report: what a browser makes of it, what names in files cannot do to it, and its plots."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from mlexport.report import plots, svg
from mlexport.report.latency import Report
from mlexport.report.page import report_page
from mlexport.report.pareto import front
from mlexport.report.plots_latency import described
from tests import latency_files as files
from tests.test_report_latency import report_of

NASTY = "</title></style></svg>\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}`x` $y$"


class Elements(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def _style(page: str) -> str:
    return page.split("<style>", maxsplit=1)[1].split("</style>", maxsplit=1)[0]


def everything(name: str | None = None) -> Report:
    """Measured, estimated, both, refused, noisy, batches and streams; one artifact under another name."""
    few = {"count": 5, "lengths": (16, 128, 512)}
    result, first = files.bench(noisy=True, **few), files.subjects()[0].name
    measured = result if name is None else files.renamed(result, first, name)
    return report_of(measured, files.estimate("pixel-8-cpu", "intel-npu", **few), files.estimate("local", **few))


@pytest.fixture(scope="module")
def page() -> str:
    return report_page(everything())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Without a sandbox, for the tests may run as root; the page is ours
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_opens_it_from_disk(page: str, browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    shown = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(path.as_uri())
    assert asked == [path.as_uri()]
    assert said == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing but tables, which scroll by themselves, is wider than the page
    wide = (
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, svg') && e.getBoundingClientRect()"
    )
    assert shown.evaluate(f"{wide}.right > {width} + 1).length") == 0
    text = shown.inner_text("body")
    assert "measured" in text
    assert "estimated" in text
    assert "refused" in text
    # The variables reach the plots: their text has the page's ink, and paper is light or dark
    ink, paper = (shown.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert shown.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill") == ink
    assert (sum(map(int, re.findall(r"\d+", paper))) > 384) == (scheme == "light")
    # No text of a plot is cut off by its edge, and letters are large enough to read
    cut = """[...document.querySelectorAll('figure svg text')].filter(t => {
        const own = t.getBoundingClientRect(), all = t.closest('figure').getBoundingClientRect();
        return own.left < all.left || own.right > all.right || own.height < 9 }).length"""
    assert shown.evaluate(cut) == 0
    context.close()


def test_labels_of_plots_do_not_cover_each_other(page: str, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    shown = browser.new_page(viewport={"width": 390, "height": 800})
    shown.goto(path.as_uri())
    boxes = shown.evaluate(
        """[...document.querySelectorAll('figure svg')].map(s => [...s.querySelectorAll('text')].map(t => {
        const r = t.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom, t.textContent] }))"""
    )
    covered = [
        (one[4], other[4])
        for own in boxes
        for place, one in enumerate(own)
        for other in own[:place]
        # A line's box is higher than its letters
        if one[0] < other[2] and other[0] < one[2] and one[1] + 3 < other[3] - 3 and other[1] + 3 < one[3] - 3
    ]
    assert sum(map(len, boxes)) > 100
    assert covered == []
    shown.close()


def test_a_browser_runs_nothing_that_a_name_brings(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_page(everything(NASTY)), encoding="utf-8")
    shown = browser.new_page()
    said: list[str] = []
    shown.on("dialog", lambda dialog: said.append(dialog.message))
    shown.on("console", lambda message: said.append(message.text))
    shown.goto(path.as_uri())
    assert said == []
    assert NASTY.replace("`", "") in shown.inner_text("body").replace("\u00a0", " ")
    # And if something did come in, the page's policy would stop it
    shown.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(3)>')")
    shown.wait_for_timeout(200)
    assert any("Content Security Policy" in line for line in said)
    assert "3" not in said
    shown.close()


def test_names_do_not_become_elements(page: str) -> None:
    plain, broken = Elements(page), Elements(report_page(everything("somebody's")))
    nasty = Elements(report_page(everything(NASTY)))
    # `x` in the name is shown as code
    assert nasty.tags - Counter(code=nasty.tags["code"]) == broken.tags - Counter(code=broken.tags["code"])
    assert "script" not in nasty.tags
    assert {name for _, name, _ in nasty.attributes} == {name for _, name, _ in broken.attributes}
    assert "<script>alert(1)</script>" in nasty.text
    assert "{{ 7*7 }}" in nasty.text
    assert plain.tags["figure"] >= 10


def test_the_page_asks_for_nothing_and_its_policy_names_its_one_style(page: str) -> None:
    found = Elements(page)
    assert found.tags["style"] == 1
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(found.tags)
    assert [v for _, name, v in found.attributes if name in ("src", "srcset", "style") or name.startswith("on")] == []
    assert all(v is not None and v.startswith("#") for _, name, v in found.attributes if name in ("href", "xlink:href"))
    style = _style(page)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(
        v for tag, name, v in found.attributes if tag == "meta" and name == "content" and "default-src" in str(v)
    )
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    # A namespace's name is no address
    assert "http" not in style + "".join(str(v) for _, name, v in found.attributes if name != "xmlns")


def test_plots_are_text_and_variables_and_have_names(page: str) -> None:
    style = _style(page)
    drawings = [ET.fromstring(one) for one in re.findall(r"<svg .*?</svg>", page, flags=re.DOTALL)]
    assert len(drawings) > 20
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    for used in re.findall(r'(?:href="#|url\(#|labelledby="|aria-labelledby="[^" ]+ )([\w-]+)', page):
        assert used in identifiers
    space = "{http://www.w3.org/2000/svg}"
    for drawing in drawings:
        title = drawing.find(f"{space}title")
        assert title is not None
        assert title.text
        assert drawing.get("role") == "img"
    words = [element.text for drawing in drawings for element in drawing.iter(f"{space}text")]
    assert {"ms", "MB", "tokens of a text", "search quality kept"} <= set(words)
    # Every class of a plot takes its colours from the page
    rules = re.findall(r"^\.p\d+\{(.*)\}$", style, flags=re.MULTILINE)
    assert len(rules) > 20
    assert not any(re.search(r"#[0-9a-f]{3,6}\b(?![\w-]*\))", rule) for rule in rules)


def test_measured_and_estimated_are_drawn_differently() -> None:
    for measured in (True, False):
        page = report_page(report_of(files.bench(count=2) if measured else files.estimate("pixel-8-cpu", count=2)))
        assert ("<pattern" in page) == (not measured)
        assert ("stroke-dasharray" in _style(page)) == (not measured)
        assert (">measured</span>" in page) == measured
        assert (">estimated</span>" in page) == (not measured)


def test_every_artifact_has_a_mark_in_both_plots_of_its_device(page: str) -> None:
    report = everything()
    pairs = [(row, report.shown(row.subject)) for row in report.reference("local")]
    assert len(pairs) == 10
    for row, shown in pairs:
        assert page.count(f"<title>{described(row, shown)}</title>") >= 2


def _dots(seed: int, count: int) -> list[plots.Dot]:
    generator = np.random.default_rng(seed)
    return [
        plots.Dot(
            x=float(x), y=float(y), low=float(x), high=float(x), measured=True, label=str(i), look=i, title=f"dot {i}"
        )
        for i, (x, y) in enumerate(generator.integers(1, 30, (count, 2)))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_line_of_a_plot_goes_through_what_nothing_beats(seed: int) -> None:
    dots = _dots(seed, 40)
    cost = plots.Axis(label="ms", show=str)
    benefit = plots.Axis(label="kept", show=str, benefit=True)
    for vertical, sign in ((cost, 1), (benefit, -1)):
        line = plots.dot_front(dots, cost, vertical)
        brute = [
            d
            for d in dots
            if not any(o.x <= d.x and sign * o.y <= sign * d.y and (o.x < d.x or sign * o.y < sign * d.y) for o in dots)
        ]
        assert {dot.label for dot in line} == {dot.label for dot in brute}
        assert [dot.x for dot in line] == sorted(dot.x for dot in line)
    assert len(front([(dot.x, dot.y) for dot in dots])) == 40


def test_marks_stand_where_their_values_are() -> None:
    dots = [
        plots.Dot(x=x, y=y, low=x, high=x, measured=True, label="", look=0, title=f"at {x:g}")
        for x, y in ((1.0, 1.0), (10.0, 2.0), (100.0, 3.0))
    ]
    axis = plots.Axis(label="x", show=str)
    drawing = ET.fromstring(plots.scatter(dots, axis, axis, svg.StyleSheet(), title="t", text="x"))
    space = "{http://www.w3.org/2000/svg}"
    places = {}
    for group in drawing.iter(f"{space}g"):
        title, use = group.find(f"{space}title"), group.find(f".//{space}use")
        if title is not None and use is not None:
            places[title.text] = (float(use.get("x", "")), float(use.get("y", "")))
    first, second, third = (places[f"at {x}"] for x in (1, 10, 100))
    # A logarithmic x, a linear y that grows upwards
    assert second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.1)
    assert first[1] - second[1] == pytest.approx(second[1] - third[1], abs=0.1)
    assert first[1] > second[1]


@pytest.mark.parametrize(("low", "high"), [(0.013, 0.9), (1, 5), (3.1, 3.2), (1, 1e6), (0.5, 700)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    ticks = plots.round_values(low, high)
    assert len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(ticks)


@pytest.mark.parametrize("places", [[0.0, 0.0, 0.0], [5.0, 1.0, 5.5, 30.0], [10.0]])
def test_labels_are_spread_in_their_order(places: list[float]) -> None:
    moved = plots.spread(places, 11)
    order = sorted(range(len(places)), key=lambda i: places[i])
    gaps = [moved[b] - moved[a] for a, b in pairwise(order)]
    assert all(gap >= 11 - 0.01 for gap in gaps)
    assert sum(moved) == pytest.approx(sum(places))


def _variables(scheme: str) -> dict[str, str]:
    css = (Path(svg.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", light))
    return found if scheme == "light" else found | dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", dark))


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it."""
    light = sorted(float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(scheme: str) -> None:
    own = _variables(scheme)
    for name in ("ink", "muted", "accent"):
        for under in ("paper", "surface", "card"):
            assert _contrast(own[f"--{name}"], own[f"--{under}"]) >= 4.5
    assert _contrast(own["--warn"], own["--warn-card"]) >= 4.5
    for number in range(svg.SERIES):
        assert _contrast(own[f"--series-{number}"], own["--surface"]) >= 3
    for number in range(svg.HEAT_STEPS):
        assert _contrast(own[f"--heat-{number}"], own[f"--heat-ink-{number}"]) >= 4.5


# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB
_BLIND = {
    "nobody": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def _lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    scaled = (to_xyz @ np.clip(linear, 0, 1)) / [0.9505, 1.0, 1.089]
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eyes", _BLIND)
def test_series_are_told_apart_by_the_colour_blind_too(scheme: str, eyes: str) -> None:
    own = _variables(scheme)
    seen = [_lab(_BLIND[eyes] @ _linear(own[f"--series-{number}"])) for number in range(svg.SERIES)]
    nearest = min(float(np.linalg.norm(a - b)) for i, a in enumerate(seen) for b in seen[:i])
    # A difference of 2.3 is just noticeable; shapes and numbers tell them apart besides
    assert nearest > 25
