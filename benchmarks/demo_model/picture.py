"""Draw docs/size-quality.svg: what each depth and rank of the demo checkpoint weighs and finds.

    python benchmarks/demo_model/picture.py [--demo mlexport/data/demo] [--out docs/size-quality.svg]

Quality is evaluation.json's (float32 vectors, all dims). Size is that of the weights, as `mlexport slice --dry-run
--json` counts them: the whole table in GGUF q8_0, which stores it folded; the cuts to a rank in ONNX int8, which keeps
the table as its factors U·V. The same numbers give the same file, byte for byte, with the same matplotlib.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

ROOT = Path(__file__).resolve().parents[2]
# Paul Tol's bright scheme: told apart by the colour-blind too
COLOURS = {None: "#4477aa", 64: "#228833", 32: "#ee6677"}
MARKERS = {None: "o", 64: "s", 32: "^"}
LABELS = {None: "whole table, GGUF q8_0", 64: "rank 64, ONNX int8", 32: "rank 32, ONNX int8"}
PANELS = {
    "ndcg_at_10_english": "English",
    "ndcg_at_10_mean_of_languages": "mean of 16 languages",
}
# Around a point, in points: below, above, then the corners and sides
PLACES = ((0, -11), (0, 11), (8, -9), (-8, 9), (8, 9), (-8, -9), (11, 0), (-11, 0))
STYLE = {
    "svg.hashsalt": "mlexport",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A cut: megabytes, and nDCG@10 by panel."""

    layers: int
    rank: int | None
    size: float
    quality: dict[str, float]


def megabytes(demo: Path, layers: int, rank: int | None) -> float:
    """Weights of a cut at 8 bits, in units of a million bytes."""
    cut = ["--layers", str(layers)] + ([] if rank is None else ["--rank", str(rank)])
    kind = ["--target", "gguf" if rank is None else "onnx", "--precision", "int8", "--dry-run", "--json"]
    command = [sys.executable, "-m", "mlexport", "slice", "--model", str(demo), *cut, *kind]
    [plan] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    after = plan["variants"][0]["sizes"]
    return (after["table_bytes"] + after["body_bytes"]) / 1e6


def points(demo: Path) -> list[Point]:
    """Every depth × (whole table, rank 64, rank 32), all dims."""
    config, evaluation = (json.loads((demo / name).read_text()) for name in ("config.json", "evaluation.json"))
    return [
        Point(
            layers=row["layers"],
            rank=row["rank"],
            size=megabytes(demo, row["layers"], row["rank"]),
            quality={panel: row[panel] for panel in PANELS},
        )
        for row in evaluation["grid"]
        if row["dim"] == config["hidden_size"] and row["rank"] in COLOURS
    ]


def free_place(label: Annotation, taken: list[Bbox]) -> None:
    """Move a label to the first place around its point that nothing has taken, and take it."""
    renderer = label.figure.canvas.get_renderer()
    for offset in PLACES:
        label.set_position(offset)
        box = label.get_window_extent(renderer)
        if not any(box.overlaps(other) for other in taken):
            break
    taken.append(box)


def label_points(axes: Axes, drawn: list[Point], panel: str) -> None:
    """The number of layers beside each point, clear of points, lines and other labels."""
    places = {(p.layers, p.rank): axes.transData.transform((p.size, p.quality[panel])) for p in drawn}
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in places.values()]
    for rank in COLOURS:
        line = np.array([places[key] for key in sorted(key for key in places if key[1] == rank)])
        for start, end in itertools.pairwise(line):
            taken += [Bbox.from_bounds(x - 1, y - 1, 2, 2) for x, y in np.linspace(start, end, 20)]
    for p in drawn:
        at = (p.size, p.quality[panel])
        style = {
            "textcoords": "offset points",
            "fontsize": 9.5,
            "color": COLOURS[p.rank],
            "ha": "center",
            "va": "center",
        }
        free_place(axes.annotate(str(p.layers), at, xytext=(0, 0), **style), taken)


def draw_panel(axes: Axes, drawn: list[Point], panel: str) -> None:
    for rank, colour in COLOURS.items():
        line = sorted((p for p in drawn if p.rank == rank), key=lambda p: p.layers)
        sizes, qualities = [p.size for p in line], [p.quality[panel] for p in line]
        axes.plot(sizes, qualities, color=colour, marker=MARKERS[rank], markersize=6, linewidth=1.6, label=LABELS[rank])
    axes.set_title(PANELS[panel], fontsize=12, loc="left")
    axes.set_xlabel("weights in MB")
    axes.set_xlim(0, 12.6)
    axes.set_xticks(range(0, 13, 2))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def draw(drawn: list[Point], documents: int, out: Path) -> None:
    """Two panels on white, 800 pixels wide."""
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, sharey=True, figsize=(800 / 96, 4.1), facecolor="white")
        for axes, panel in zip(panels, PANELS, strict=True):
            draw_panel(axes, drawn, panel)
        values = [value for p in drawn for value in p.quality.values()]
        panels[0].set_ylim(min(values) - 0.02, max(values) + 0.02)
        panels[0].set_ylabel("nDCG@10")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper center", ncols=3, frameon=False, fontsize=10, columnspacing=1.6)
        figure.text(
            0.5,
            0.012,
            f"The demo checkpoint on {documents} held-out Debian packages, all dims. Numbers beside points: layers. "
            "Quality: float32 vectors.\n"
            "Size: weights at 8 bits without the tokenizer, as mlexport slice --dry-run counts them.",
            ha="center",
            fontsize=8.5,
            color="#444444",
        )
        figure.subplots_adjust(left=0.085, right=0.985, top=0.83, bottom=0.235, wspace=0.06)
        for axes, panel in zip(panels, PANELS, strict=True):
            label_points(axes, drawn, panel)
        figure.savefig(
            out, format="svg", metadata={"Date": None, "Title": "Size and quality of the demo checkpoint's cuts"}
        )
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=ROOT / "mlexport" / "data" / "demo")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "size-quality.svg")
    args = parser.parse_args()
    documents = json.loads((args.demo / "evaluation.json").read_text())["documents"]
    drawn = points(args.demo)
    draw(drawn, documents, args.out)
    for p in drawn:
        print(f"{p.layers} layers, rank {p.rank or 'stored'}: {p.size:.2f} MB")


if __name__ == "__main__":
    main()
