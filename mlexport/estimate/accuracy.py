"""How far estimates were off where they were checked: written by benchmarks/estimator.py, read by every estimate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mlexport.decode import decode

FILE = Path(__file__).parents[1] / "data" / "estimator.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """One check.

    Attributes:
        cases: estimates that were compared with a measurement.
        median_error: of |estimate / measured - 1|.
        p90_error: nine tenths are within it.
        factor: an estimate is divided and multiplied by it for the ends of its range.
        coverage: share of cases that such a range held.
        what: what was compared, a sentence.
    """

    cases: int
    median_error: float
    p90_error: float
    factor: float
    coverage: float
    what: str


def read_accuracy() -> Mapping[str, Accuracy]:
    """Check -> how far off."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: _accuracy(found) for name, found in data.items()}


def accuracy_json(found: Mapping[str, Accuracy]) -> str:
    """The text of the file."""
    return json.dumps({name: asdict(one) for name, one in found.items()}, indent=1, ensure_ascii=False) + "\n"


def _accuracy(data: object) -> Accuracy:
    found = decode(Accuracy, data, "")
    assert isinstance(found, Accuracy)
    return found
