"""The process that runs calibration: torch and transformers stay out of the exporter's own.

    python -m mlexport.calibrate.child REQUEST.json OUT

REQUEST holds: job ("round" or "sweep"), folder, spec, target, texts, measured (numbers of the texts that "sweep"
compares), schemes (tensor -> scheme for "round", tensor -> schemes for "sweep"), table. OUT gets what the job gives,
and `facts.json`. One line on standard output for each tensor that is done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from mlexport.calibrate.layers import LONGEST_TOKENS, Layers, batches
from mlexport.calibrate.rounding import Plan, round_layers
from mlexport.calibrate.sweep import Question, Sweep
from mlexport.checkpoint import open_checkpoint
from mlexport.runtime.tokens import TextEncoder
from mlexport.slicing import cut
from mlexport.spec import SubModelSpec, parse_target


def main() -> None:
    """Run the job of the request."""
    request: Mapping[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    out = Path(sys.argv[2])
    checkpoint = open_checkpoint(request["folder"])
    sub = cut(checkpoint, SubModelSpec.parse(request["spec"]), allow_untrained=True)
    longest = min(LONGEST_TOKENS, checkpoint.text.max_length)
    ids = TextEncoder(checkpoint.folder, replace(checkpoint.text, max_length=longest)).ids(request["texts"])
    every, layers = batches(ids, checkpoint.text.pad_id), Layers(sub)
    facts: dict[str, object] = {"tokens": sum(map(len, ids))}
    target = parse_target(request["target"])
    if request["job"] == "round":
        plan = Plan(target=target, schemes=request["schemes"])
        found = round_layers(layers, every, plan, out, _advance)
        facts["outliers"] = [asdict(one) for one in found.outliers]
        facts["ranges"] = found.ranges
    else:
        schemes, table = request["schemes"], request["table"]
        question = Question(target=target, schemes=schemes, table=table, tables=schemes[table])
        measured = batches([ids[place] for place in request["measured"]], checkpoint.text.pad_id)
        facts["losses"] = Sweep(layers, every, measured).run(question, _advance)
    (out / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _advance(name: str) -> None:
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with torch.no_grad():
        main()
