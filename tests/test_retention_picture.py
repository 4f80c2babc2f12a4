"""The README's picture is drawn from the numbers that lie beside it, and these are of the whole grid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import retention
import retention_picture as picture

ROOT = Path(__file__).parent.parent
FOUND = json.loads((ROOT / "benchmarks" / "results" / "retention.json").read_text(encoding="utf-8"))


def test_the_picture_is_what_was_measured(tmp_path: Path) -> None:
    picture.draw(FOUND, tmp_path / "again.svg")
    # Path coordinates may end in another digit on another processor; what is drawn may not differ
    again, shown = (
        (p).read_text(encoding="utf-8") for p in (tmp_path / "again.svg", ROOT / "docs" / "size-quality.svg")
    )
    assert again.count("<use ") == shown.count("<use ")
    assert again.count("<path ") == shown.count("<path ")
    assert len(again) == pytest.approx(len(shown), rel=0.01)


def test_every_cut_of_the_grid_was_measured() -> None:
    names = ("target", "precision", "layers", "rank")
    measured = [tuple(point[name] for name in names) for point in FOUND["points"]]
    assert measured == [tuple(getattr(cut, name) for name in names) for cut in retention.grid()]
    whole = next(
        p for p in FOUND["points"] if (p["target"], p["precision"], p["layers"], p["rank"]) == ("onnx", "f32", 12, None)
    )
    assert picture.percent(whole) == pytest.approx(100, abs=0.05)


def test_the_front_is_what_nothing_smaller_beats() -> None:
    front = picture.pareto(FOUND["points"])
    assert len(front) > 8
    for point in FOUND["points"]:
        better = [p for p in front if p["bytes"] <= point["bytes"] and picture.percent(p) >= picture.percent(point)]
        assert better
        smaller = [p for p in FOUND["points"] if p["bytes"] < point["bytes"]]
        assert (point in front) == all(picture.percent(p) < picture.percent(point) for p in smaller)
