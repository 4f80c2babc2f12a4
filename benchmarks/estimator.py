"""How far estimates are off: against measurement on this machine, and against published latencies.

    python benchmarks/estimator.py --work FOLDER --seconds 200        # again and again, until it says that all is done
    python benchmarks/estimator.py --work FOLDER --report             # fit, predict, write the results

Measured: the models that `mlexport calibrate-device` times, and cuts that calibration does not see, in turn in rounds,
each in a process of its own. Others: see estimator_published.py. Results: results/estimator.json, and what `estimate`
says of its own error (mlexport/data/estimator.json).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import real_shapes
from environment import environment
from estimator_published import best_share, leave_one_out
from llama_sources import fetch
from published_latencies import ROWS, SHAPES

from mlexport.estimate.accuracy import FILE, Accuracy, accuracy_json
from mlexport.estimate.calibrated import profile_of
from mlexport.estimate.figures import figures_for
from mlexport.estimate.fit import Measured
from mlexport.estimate.memory import resident_bytes
from mlexport.estimate.model import pieces
from mlexport.estimate.samples import copy_bandwidth, measured, read_samples, samples_json, take
from mlexport.latency import CALIBRATED, PUBLISHED
from mlexport.pipeline import slice_model
from mlexport.pipeline.calibrate_device import PRECISIONS, fits_of, write_calibration_models
from mlexport.request import SliceRequest
from mlexport.spec import Target

RESULT = Path(__file__).parent / "results" / "estimator.json"
# Turns of the models that the calibration sees, and of the cuts: in turn, so that both meet the same hours
ROUNDS = ((1, 1), (2, 2), (3, 3))
TARGETS = (Target.ONNX, Target.OPENVINO, Target.GGUF)
# Cuts that the calibration does not see: name -> checkpoint, layers, tokens of the vocabulary
CUTS: Mapping[str, tuple[str, int, str | None]] = {
    "demo-L4": ("demo", 4, None),
    "demo-L12": ("demo", 12, None),
    "real-L4": ("real", 4, "16000"),
    "real-L8": ("real", 8, "32000"),
}
LIBRARIES = ("mlexport", "numpy", "onnxruntime", "openvino", "llama-cpp-python")
Key = tuple[str, str, int]


def artifacts(work: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Calibration models, and cuts to predict: made where they are not there yet."""
    seen = write_calibration_models(work, TARGETS)
    if not (work / "real" / "V.pth").exists():
        real_shapes.make(fetch(work / "llama.cpp"), work / "real")
    unseen = {}
    for name, (model, layers, vocab) in CUTS.items():
        for target in TARGETS:
            folder = work / f"{name}-{target}"
            unseen[f"{name} {target}"] = folder
            if not folder.is_dir():
                cut = SliceRequest(
                    model=str(work / "real") if model == "real" else model,
                    layers=layers,
                    dim=128,
                    vocab=() if vocab is None else (vocab,),
                    targets=(target,),
                    precisions=PRECISIONS[target],
                    out=folder,
                    allow_untrained=True,
                )
                slice_model(cut, verify="off")
    return seen, unseen


def measure(file: Path, seen: Mapping[str, Path], unseen: Mapping[str, Path], seconds: float) -> None:
    """Go on where the last call ended, for so many seconds."""
    found, complete, end = read_samples(file), True, time.monotonic() + seconds
    for first, second in ROUNDS:
        for models, rounds in ((seen, first), (unseen, second)):
            if complete:
                left = end - time.monotonic()
                found, complete = take(models, lambda *_: True, rounds, found, limit_seconds=left)
    file.write_text(samples_json(found), encoding="utf-8")
    print(f"{len(found)} samples: " + ("all is done, pass --report" if complete else "to be continued"))


def predictions(
    seen: Mapping[str, Path], unseen: Mapping[str, Path], times: Mapping[Key, Measured], bandwidth: float
) -> list[dict[str, object]]:
    """Each measured time of a cut that was not seen, with the estimate of a profile fitted on the others."""
    fits = fits_of(seen, {key: one for key, one in times.items() if key[0] in seen})
    profile = profile_of(fits, bandwidth, sorted(seen))
    rows = []
    for (name, variant, tokens), one in times.items():
        if name not in unseen:
            continue
        figures = figures_for(profile, one.work)
        ms = sum(piece.ms for piece in pieces(one.work, figures, tokens, 1))
        rows.append(
            {
                "model": name.split()[0],
                "target": one.work.target.value,
                "precision": variant,
                "tokens": tokens,
                "measured_ms": round(1e3 * one.seconds, 3),
                "estimated_ms": round(ms, 3),
                "error": round(ms / (1e3 * one.seconds) - 1, 4),
            }
        )
    return rows


def summary(rows: Sequence[Mapping[str, object]], what: str) -> tuple[Accuracy, dict[str, object]]:
    """Errors all in all, and by target, precision, tokens and model."""
    errors = [float(str(row["error"])) for row in rows if row["error"] is not None]
    sizes = np.abs(errors)
    # The factor that nine tenths of the cases need, in either direction
    needed = [max(1 + error, 1 / (1 + error)) for error in errors]
    factor = round(float(np.quantile(needed, 0.9)), 2)
    accuracy = Accuracy(
        cases=len(errors),
        median_error=round(float(np.median(sizes)), 3),
        p90_error=round(float(np.quantile(sizes, 0.9)), 3),
        factor=factor,
        coverage=round(statistics.fmean(one <= factor for one in needed), 3),
        what=what,
    )
    groups: dict[str, object] = {}
    for field in ("target", "precision", "tokens", "model", "unit"):
        for value in dict.fromkeys(row[field] for row in rows if field in row):
            found = [abs(float(str(r["error"]))) for r in rows if r.get(field) == value and r["error"] is not None]
            if found:
                groups[f"{field} {value}"] = {
                    "cases": len(found),
                    "median_error": round(statistics.median(found), 3),
                    "within_25_percent": round(statistics.fmean(one <= 0.25 for one in found), 3),
                }
    return accuracy, groups


def published() -> list[dict[str, object]]:
    """Each published row with what the others say of it."""
    return [
        {
            "unit": one.row.unit,
            "kind": one.row.kind,
            "model": one.row.model,
            "tokens": one.row.tokens,
            "precision": one.row.precision,
            "published_ms": one.row.ms,
            "estimated_ms": None if one.ms is None else round(one.ms, 2),
            "error": None if one.error is None else round(one.error, 3),
            "from": list(one.partners),
            "note": one.row.note,
            "shape": SHAPES[one.row.model].source,
        }
        for one in leave_one_out()
    ]


def memory(times: Mapping[Key, Measured], peaks: Mapping[Key, int]) -> dict[str, object]:
    """Estimated resident memory against the peak of the process, at the longest text."""
    ratios: dict[str, list[float]] = {}
    for key, one in times.items():
        if key[2] == max(tokens for name, variant, tokens in times if (name, variant) == key[:2]):
            ratio = resident_bytes(one.work, one.tokens, 1) / peaks[key]
            ratios.setdefault(one.work.target.value, []).append(ratio)
    return {
        target: {
            "cases": len(found),
            "median_ratio": round(statistics.median(found), 2),
            "lowest": round(min(found), 2),
            "highest": round(max(found), 2),
        }
        for target, found in ratios.items()
    }


def report(work: Path, result: Path, accuracy_file: Path) -> None:
    """Fit, predict, compare, write and print."""
    seen, unseen = artifacts(work)
    samples = [one for one in read_samples(work / "samples.json") if one.name in seen | unseen]
    times = measured(seen | unseen, samples)
    rows = predictions(seen, unseen, times, copy_bandwidth())
    cuts = f"cuts of {len(CUTS)} models on this machine, {len(TARGETS)} runtimes, not seen by the calibration"
    here, groups = summary(rows, cuts)
    others = published()
    there, units = summary(others, "published latencies of other models, each left out and predicted from the others")
    own = [abs(one.error) for one in leave_one_out(own_share=True) if one.error is not None]
    shares = {kind: round(best_share(kind, ROWS), 3) for kind in ("cpu", "gpu", "npu")}
    peaks = {(one.name, one.variant, one.tokens): one.peak_bytes for one in samples}
    content = {
        "environment": environment(LIBRARIES),
        "rounds": {
            kind: 1 + max((one.round for one in samples if one.name in models), default=-1)
            for kind, models in (("calibration", seen), ("cuts", unseen))
        },
        "others_share": round(statistics.fmean(one.others for one in samples), 4),
        "calibrated": {"summary": json.loads(accuracy_json({"x": here}))["x"], "groups": groups, "rows": rows},
        "published": {
            "summary": json.loads(accuracy_json({"x": there}))["x"],
            "attention_share": shares,
            "median_error_with_own_share": round(statistics.median(own), 3),
            "largest_error_with_own_share": round(max(own), 3),
            "groups": units,
            "rows": others,
        },
        "memory": memory(times, peaks),
    }
    result.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    accuracy_file.write_text(accuracy_json({CALIBRATED: here, PUBLISHED: there}), encoding="utf-8")
    for name, one, found in (("measured here", here, groups), ("published", there, units)):
        print(
            f"{name}: median error {one.median_error:.1%}, nine tenths within {one.p90_error:.1%}, {one.cases} cases, "
            f"factor {one.factor}"
        )
        for group, facts in found.items():
            print(f"    {group}: {facts}")
    for row in others:
        print(row["unit"], row["model"], row["tokens"], row["precision"], row["published_ms"], row["estimated_ms"])
    print(content["memory"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="about 6 GB are written there, and kept")
    parser.add_argument("--seconds", type=float, default=200, help="measure so long, and go on where it ended")
    parser.add_argument("--report", action="store_true", help="from what is measured already")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--accuracy", type=Path, default=FILE)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    seen, unseen = artifacts(args.work)
    if not args.report:
        measure(args.work / "samples.json", seen, unseen, args.seconds)
        return
    report(args.work, args.out, args.accuracy)


if __name__ == "__main__":
    main()
