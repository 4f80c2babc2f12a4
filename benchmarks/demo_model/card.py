"""Write the demo checkpoint's model card, README.md, from what was measured.

    python benchmarks/demo_model/card.py [--demo mlexport/data/demo]

Every number of the card comes from evaluation.json (evaluate.py) and config.json (export.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evaluation_set import NAMES

DEMO = Path(__file__).resolve().parents[2] / "mlexport" / "data" / "demo"
TEXT = Path(__file__).with_name("card.md")
BARS = {
    "english": "English nDCG@10, whole model",
    "mean_of_languages": "nDCG@10, mean of the languages, whole model",
    "full_over_depth_1": "English nDCG@10 of the whole model over depth 1's",
}


def number(value: float) -> str:
    """Three decimals without the leading zero: .784."""
    return f"{value:.3f}".replace("0.", ".", 1)


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; the first column left, the others right."""
    head = list(head)
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def bars_table(evaluation: dict[str, Any]) -> str:
    rows = []
    for name, title in BARS.items():
        bar, measured = evaluation["bars"][name]["bar"], evaluation["bars"][name]["measured"]
        rows.append([title, number(bar), number(measured), "met" if measured >= bar else "**not met**"])
    return table(["", "asked", "measured", ""], rows)


def grid_table(evaluation: dict[str, Any], measure: str) -> str:
    """Depth and rank down, dim across."""
    cells = {(row["layers"], row["rank"], row["dim"]): row[measure] for row in evaluation["grid"]}
    dims = sorted({dim for _, _, dim in cells})
    depths = sorted({layers for layers, _, _ in cells})
    # The stored table last: it is the largest rank's, rounded once more
    ranks = sorted({rank for _, rank, _ in cells}, key=lambda rank: (rank is None, rank or 0))
    rows = [
        [layers, "stored" if rank is None else rank, *(number(cells[layers, rank, dim]) for dim in dims)]
        for layers in depths
        for rank in ranks
    ]
    return table(["layers", "rank", *(f"dim {dim}" for dim in dims)], rows)


def languages_table(evaluation: dict[str, Any]) -> str:
    """Languages down, by number of queries; depths across."""
    by_depth = evaluation["languages_at_depth"]
    depths = sorted(by_depth, key=int)
    names = sorted(by_depth[depths[0]], key=lambda name: -by_depth[depths[0]][name]["queries"])
    rows = [
        [
            f"{NAMES.get(name, name)} (`{name}`)",
            by_depth[depths[0]][name]["queries"],
            *(number(by_depth[depth][name]["ndcg_at_10"]) for depth in depths),
        ]
        for name in names
    ]
    return table(["language of the query", "queries", *(f"{depth} layers" for depth in depths)], rows)


def teacher_line(evaluation: dict[str, Any]) -> str:
    teacher = evaluation["teacher"]
    if teacher is None:
        return "The teacher was not measured this time."
    english = number(teacher["ndcg_at_10_english"])
    return f"The teacher itself, all {teacher['dim']} numbers, English queries: **{english}**."


def measured_with(evaluation: dict[str, Any]) -> str:
    e = evaluation["environment"]
    return (
        f"{e['date']}, {e['processor']}, {e['threads']} thread(s), {e['seconds']:.0f} s; Python {e['python']}, "
        f"torch {e['torch']}, transformers {e['transformers']}"
    )


def card(evaluation: dict[str, Any], config: dict[str, Any]) -> str:
    """The whole README.md."""
    trained = config["mlexport_trained"]
    languages = next(iter(evaluation["languages_at_depth"].values()))
    values = {
        "bars": bars_table(evaluation),
        "english": grid_table(evaluation, "ndcg_at_10_english"),
        "cross_lingual": grid_table(evaluation, "ndcg_at_10_cross_lingual"),
        "by_language": languages_table(evaluation),
        "teacher": teacher_line(evaluation),
        "measured_with": measured_with(evaluation),
        "sha256": evaluation["model_sha256"],
        "documents": evaluation["documents"],
        "queries": evaluation["queries"],
        "language_codes": "\n".join(f"- {name}" for name in sorted({name.split("_")[0] for name in languages})),
        "other_languages": len(languages) - 1,
        "all_languages": len(languages),
        "layers": config["num_hidden_layers"],
        "hidden": config["hidden_size"],
        "heads": config["num_attention_heads"],
        "kv_heads": config["num_key_value_heads"],
        "head_dim": config["head_dim"],
        "head_width": config["num_attention_heads"] * config["head_dim"],
        "mlp": config["intermediate_size"],
        "vocabulary": config["vocab_size"],
        "rank": max(trained["ranks"]),
    } | {f"trained_{axis}": ", ".join(map(str, cuts)) for axis, cuts in trained.items()}
    return TEXT.read_text(encoding="utf-8").format(**values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=DEMO)
    demo = parser.parse_args().demo
    evaluation, config = (json.loads((demo / name).read_text()) for name in ("evaluation.json", "config.json"))
    (demo / "README.md").write_text(card(evaluation, config), encoding="utf-8")
    print(f"{demo / 'README.md'}: {bars_table(evaluation)}")


if __name__ == "__main__":
    main()
