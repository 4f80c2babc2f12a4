"""Draw docs/size-quality.svg from benchmarks/results/retention.json: bytes against what is kept of the full model.

    python benchmarks/retention_picture.py [--out docs/size-quality.svg]

Left: the files of an artifact, every cut as a point, and for each precision the line of those that nothing smaller
beats (the Pareto front). Right: one stored vector, in float32, int8 and binary, at every trained dim. Both axes of
bytes are logarithmic. The same numbers give the same file, byte for byte, with the same matplotlib.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

ROOT = Path(__file__).resolve().parents[1]
# Paul Tol's bright scheme: told apart by the colour-blind too
PRECISIONS = {"f32": "#4477aa", "int8": "#228833", "int4": "#ee6677"}
MARKERS = {"onnx": "o", "openvino": "s", "gguf": "^"}
NAMES = {"onnx": "ONNX", "openvino": "OpenVINO", "gguf": "GGUF"}
STORED = {
    ("f32", "cosine"): ("float32", "#4477aa", "o"),
    ("int8", "cosine"): ("int8", "#228833", "s"),
    ("binary", "float query"): ("binary, float query", "#aa3377", "^"),
    ("binary", "hamming"): ("binary, Hamming", "#bbbbbb", "v"),
}
STYLE = {
    "svg.hashsalt": "mlexport",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# The left panel ends here; what keeps less is named below the picture
LOWEST_PERCENT = 84.0
SIZES_MB = (2, 3, 5, 10, 20, 40)
VECTOR_BYTES = (1, 4, 16, 64, 256, 1024)
# Points of the front that are named differ by this much
NAMED_EVERY = 0.6

Point = Mapping[str, Any]


def percent(point: Point, name: str = "retained_ndcg") -> float:
    """What is kept, in percent."""
    return 100 * float(point[name]["value"])


def pareto(points: Sequence[Point]) -> list[Point]:
    """Points that keep more than every smaller one, by size."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p["bytes"], -percent(p))):
        if not front or percent(point) > percent(front[-1]):
            front.append(point)
    return front


def cut_name(point: Point) -> str:
    """Layers, and the rank where the table was cut."""
    return f"L{point['layers']}" + ("" if point["rank"] is None else f" R{point['rank']}")


def draw_cuts(axes: Axes, points: Sequence[Point]) -> None:
    """Every artifact, the front of each precision as a line, and the points of the front of all by name."""
    front = pareto(points)
    for precision, colour in PRECISIONS.items():
        own = pareto([p for p in points if p["precision"] == precision])
        sizes, kept = [p["bytes"] / 1e6 for p in own], [percent(p) for p in own]
        axes.step([*sizes, SIZES_MB[-1] * 1.2], [*kept, kept[-1]], where="post", color=colour, linewidth=1.3)
    for point in points:
        best = point in front
        axes.plot(
            point["bytes"] / 1e6,
            percent(point),
            marker=MARKERS[point["target"]],
            color=PRECISIONS[point["precision"]],
            markersize=6.5 if best else 5,
            alpha=1.0 if best else 0.5,
            markeredgecolor="black" if best else "none",
            markeredgewidth=0.8,
            linestyle="none",
            zorder=3 if best else 2,
        )
    named = 0.0
    for point in front:
        if percent(point) < max(LOWEST_PERCENT, named + NAMED_EVERY):
            continue
        named = percent(point)
        high = named > 99
        axes.annotate(
            cut_name(point),
            (point["bytes"] / 1e6, named),
            xytext=(0, 8) if high else (-6, 3),
            textcoords="offset points",
            ha="center" if high else "right",
            fontsize=9,
        )
    axes.set_title("files of an artifact", fontsize=12, loc="left")
    axes.set_xlabel("MB, tokenizer included")
    axes.set_xscale("log")
    axes.set_xticks(SIZES_MB, [str(size) for size in SIZES_MB])
    axes.set_xlim(1.55, SIZES_MB[-1] * 1.2)
    axes.set_ylim(LOWEST_PERCENT, 101.4)


def draw_vectors(axes: Axes, stored: Sequence[Point]) -> None:
    """A line a precision, a point a dim, the same dims on every line."""
    for (precision, comparison), (label, colour, marker) in STORED.items():
        line = [p for p in stored if (p["precision"], p["comparison"]) == (precision, comparison)]
        line.sort(key=lambda p: p["dim"])
        sizes, kept = [p["bytes"] for p in line], [percent(p, "retained") for p in line]
        axes.plot(sizes, kept, color=colour, marker=marker, markersize=6, linewidth=1.6, label=label)
        # The others have the same dims in the same order
        for point in line if precision == "f32" else ():
            axes.annotate(
                str(point["dim"]),
                (point["bytes"], percent(point, "retained")),
                xytext=(7, -9),
                textcoords="offset points",
                fontsize=8.5,
                color=colour,
            )
    axes.set_title("one stored vector, dims 8 to 256", fontsize=12, loc="left")
    axes.set_xlabel("bytes")
    axes.set_xscale("log")
    axes.set_xticks(VECTOR_BYTES, [str(size) for size in VECTOR_BYTES])
    axes.set_xlim(0.8, 2200)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))


def finish(axes: Axes) -> None:
    """What both panels share."""
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}%"))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def draw(found: Mapping[str, Any], out: Path) -> None:
    """Two panels on white, 800 pixels wide."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(800 / 96, 4.7), facecolor="white")
        draw_cuts(panels[0], found["points"])
        draw_vectors(panels[1], found["stored_vectors"])
        for axes in panels:
            finish(axes)
        panels[0].set_ylabel("nDCG@10 kept of the full model")
        dots = {"marker": "o", "linestyle": "none", "markersize": 6}
        handles = [Line2D([], [], color=colour, label=name, **dots) for name, colour in PRECISIONS.items()]
        handles += [
            Line2D([], [], color="#666666", label=NAMES[name], **{**dots, "marker": marker})
            for name, marker in MARKERS.items()
        ]
        style = {"frameon": False, "fontsize": 9, "columnspacing": 0.9}
        panels[0].legend(handles=handles, loc="lower right", ncols=2, handletextpad=0.3, **style)
        panels[1].legend(loc="lower right", **style)
        figure.text(0.5, 0.012, caption(found), ha="center", fontsize=8.5, color="#444444")
        figure.subplots_adjust(left=0.095, right=0.985, top=0.93, bottom=0.265, wspace=0.2)
        figure.savefig(out, format="svg", metadata={"Date": None, "Title": "What cuts of the demo weigh and keep"})
        plt.close(figure)


def caption(found: Mapping[str, Any]) -> str:
    """What was measured, on what, and how sure it is."""
    widths = [100 * (p["retained_ndcg"]["high"] - p["retained_ndcg"]["low"]) / 2 for p in found["points"]]
    below = sum(percent(p) < LOWEST_PERCENT for p in found["points"])
    left_out = f" {below} points below {LOWEST_PERCENT:.0f}% are left out." if below else ""
    return (
        f"The demo on {found['documents']:,} held-out Debian packages, {found['queries']:,} queries in 16 languages; "
        f"100% is nDCG@10 {found['full_ndcg']['value']:.3f}, by transformers.\n"
        "Every point is measured. L: layers, R: rank of the token table; lines: the Pareto front of each precision; "
        f"black edge: that of all.\n95% intervals on the left: at most ±{max(widths):.1f} points.{left_out} "
        "Right: the model with all layers, in float32."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, default=ROOT / "benchmarks" / "results" / "retention.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "size-quality.svg")
    args = parser.parse_args()
    found = json.loads(args.measured.read_text(encoding="utf-8"))
    draw(found, args.out)
    for point in pareto(found["points"]):
        name = f"{NAMES[point['target']]} {point['precision']} {cut_name(point)}"
        print(f"{point['bytes'] / 1e6:6.2f} MB  {percent(point):6.2f}%  {name}")


if __name__ == "__main__":
    main()
