"""Plots by matplotlib as SVG for a page: text stays text, colours are the page's variables, hover names a mark.

matplotlib draws in stand-in colours. What it writes is then changed so that a page without inline styles can hold it:
each style becomes a class of the page's style sheet, in which a stand-in is the variable that it stands for.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

SERIES = 6
HEAT_STEPS = 7
# Stand-ins; no grey that matplotlib might use by itself
INK, MUTED, GRID, SURFACE = "#010203", "#010204", "#010205", "#010206"
COLOURS = tuple(f"#0103{number:02x}" for number in range(SERIES))
HEAT = tuple(f"#0104{number:02x}" for number in range(HEAT_STEPS))
HEAT_INK = tuple(f"#0105{number:02x}" for number in range(HEAT_STEPS))
VARIABLES: Mapping[str, str] = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(COLOURS)},
    **{colour: f"var(--heat-{number})" for number, colour in enumerate(HEAT)},
    **{colour: f"var(--heat-ink-{number})" for number, colour in enumerate(HEAT_INK)},
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Units of the drawing: CSS pixels at the width of a phone
WIDTH, HEIGHT = 360, 270
_UNITS_PER_INCH = 72
_NAMESPACE = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_STYLE: dict[RcKeyType, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlexport",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "hatch.linewidth": 1.2,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


@dataclass(slots=True)
class StyleSheet:
    """Classes for the styles that a page's plots use, in the order in which they were first met.

    Attributes:
        rules: declarations -> class.
        figures: plots so far; the identifiers of each begin with its number.
    """

    rules: dict[str, str] = field(default_factory=dict)
    figures: int = 0

    def name(self, declarations: str) -> str:
        """The class with these declarations."""
        return self.rules.setdefault(declarations, f"p{len(self.rules)}")

    def css(self) -> str:
        """The rules; a plot's page has them in its one <style>."""
        return "\n".join(f".{name}{{{text}}}" for text, name in self.rules.items())


@contextmanager
def plotting() -> Iterator[None]:
    """The look of every plot; names in a script that DejaVu lacks are the browser's to draw."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> Figure:
    """An empty figure of so many units."""
    return Figure(figsize=(width / _UNITS_PER_INCH, height / _UNITS_PER_INCH), layout="constrained")


class Marks:
    """Names for marks of one figure, which a browser shows when the pointer rests on them."""

    def __init__(self) -> None:
        self.titles: dict[str, str] = {}

    def add(self, artist: Artist, title: str) -> None:
        """Give a mark its name."""
        key = f"mark{len(self.titles)}"
        self.titles[key] = title
        artist.set_gid(key)


def to_svg(figure: Figure, sheet: StyleSheet, marks: Marks | None = None, *, title: str, text: str) -> str:
    """The figure as an <svg> element for an HTML page.

    Args:
        title: what it is, in a few words; text: what it shows, for those who do not see it.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue())
    sheet.figures += 1
    key = f"f{sheet.figures}"
    _clean(root, sheet, {} if marks is None else marks.titles, key)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    for place, (tag, words) in enumerate((("title", title), ("desc", text))):
        element = ET.Element(_NAMESPACE + tag, {"id": f"{key}-{tag}"})
        element.text = words
        root.insert(place, element)
    root.set("aria-labelledby", f"{key}-title {key}-desc")
    ET.register_namespace("", _NAMESPACE[1:-1])
    return _spaces(ET.tostring(root, encoding="unicode"))


def _spaces(markup: str) -> str:
    """Without the indentation between elements and the line breaks in paths."""
    return re.sub(r">\s*\n\s*<", "><", markup).replace("\n", "")


def _clean(root: ET.Element, sheet: StyleSheet, titles: Mapping[str, str], prefix: str) -> None:
    """Styles to classes, identifiers that are used to ones of this figure alone, names of marks into <title>."""
    used = set(re.findall(r"[#]([\w-]+)", " ".join(" ".join(e.attrib.values()) for e in root.iter())))
    for parent in list(root.iter()):
        for child in list(parent):
            # matplotlib's own style sheet is in the page's, its metadata nobody reads
            if child.tag in (_NAMESPACE + "metadata", _NAMESPACE + "style"):
                parent.remove(child)
    for element in root.iter():
        _restyle(element, sheet, prefix)
        own = element.attrib.pop("id", "")
        if own in titles:
            name = ET.Element(_NAMESPACE + "title")
            name.text = titles[own]
            element.insert(0, name)
        elif own in used:
            element.set("id", f"{prefix}-{own}")
        link = element.attrib.pop(_LINK, None)
        if link is not None:
            element.set("href", f"#{prefix}-{link[1:]}")
        clip = element.get("clip-path")
        if clip is not None:
            element.set("clip-path", clip.replace("url(#", f"url(#{prefix}-"))
        _shorten(element)


def _restyle(element: ET.Element, sheet: StyleSheet, prefix: str) -> None:
    """Move an element's style, and colours among its attributes, into the sheet."""
    declarations = [part.strip() for part in element.attrib.pop("style", "").split(";") if part.strip()]
    declarations += [f"{name}: {element.attrib.pop(name)}" for name in ("fill", "stroke") if name in element.attrib]
    kept = [part for part in declarations if not part.startswith("font-family")]
    if not kept:
        return
    text = re.sub(r"#[0-9a-f]{6}", lambda match: VARIABLES.get(match[0], match[0]), "; ".join(kept))
    element.set("class", sheet.name(text.replace("url(#", f"url(#{prefix}-")))


def _shorten(element: ET.Element) -> None:
    """Hundredths of a unit are enough, and a rotation by nothing is none."""
    for name in ("d", "x", "y", "width", "height", "transform"):
        if name in element.attrib:
            element.set(name, re.sub(r"\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", element.attrib[name]))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
