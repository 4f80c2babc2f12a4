"""Mixed precision: for each product the scheme that buys the most, by losses measured one tensor at a time.

Losses of single tensors are added up; that they do add up is an assumption, so the result is a prediction, which the
caller checks on the artifact itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlexport.artifact import TensorPlan
from mlexport.errors import CalibrationError
from mlexport.model import TABLE, TABLE_LEFT, SubModel
from mlexport.quantize.plan import plan_tensors, row_for
from mlexport.quantize.sites import SITES
from mlexport.spec import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Schemes that a target's mixture chooses from.

    Attributes:
        skeleton: precision whose plan has the rows of everything that is not chosen.
        matrices, tables: schemes.
        joined: matrices that read the same input are one product, in one scheme.
    """

    skeleton: str
    matrices: tuple[str, ...]
    tables: tuple[str, ...]
    joined: bool


CANDIDATES: Mapping[Target, Candidates] = {
    Target.GGUF: Candidates(
        skeleton="q8_0",
        matrices=("iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0", "f16"),
        tables=("iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0", "f16"),
        joined=False,
    ),
    Target.ONNX: Candidates(
        skeleton="int8_b32",
        matrices=("int4_b128", "int4_b64", "int4_b32", "int8", "int8_b32", "f32"),
        tables=("int4_b128", "int4_b64", "int4_b32", "int8_b32", "f16"),
        joined=True,
    ),
    Target.OPENVINO: Candidates(
        skeleton="int8_sym",
        matrices=("int4_sym_b128", "int4_sym_b64", "int4_sym", "int8_sym", "f16"),
        tables=("int4_b128", "int4_b64", "int4_b32", "int8_b32", "f16"),
        joined=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Rows of one unit in one scheme, what they take, and the loss that was measured for them."""

    rows: tuple[TensorPlan, ...]
    bytes: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What may be chosen.

    Attributes:
        fixed: rows that stay.
        units: for each product its options, ascending in bytes and descending in loss, on the lower convex hull.
        order: tensor names, in the order of a plan.
    """

    fixed: tuple[TensorPlan, ...]
    units: tuple[tuple[Option, ...], ...]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A plan with its predicted loss, 1 - mean cosine, and exact bytes."""

    rows: tuple[TensorPlan, ...]
    loss: float
    bytes: int


def questions(sub: SubModel, target: Target) -> tuple[str, dict[str, list[str]]]:
    """The looked-up table's name, and what to measure: tensor -> schemes, each that its rows allow once."""
    known, table = CANDIDATES[target], TABLE
    found: dict[str, list[str]] = {}
    for row in plan_tensors(sub, target, known.skeleton, None):
        if row.name in (TABLE, TABLE_LEFT):
            table = row.name
            found[table] = _allowed(sub, target, row.name, known.tables)
        elif row.name.endswith("_proj.weight"):
            found[row.name] = _allowed(sub, target, row.name, known.matrices)
    return table, found


def problem(sub: SubModel, target: Target, losses: Mapping[str, Mapping[str, float]]) -> Problem:
    """Units and options of a cut, from what `questions` asked for."""
    rows = plan_tensors(sub, target, CANDIDATES[target].skeleton, None)
    units = [_options(sub, target, names, losses) for names in _units(sub, target, losses)]
    fixed = tuple(row for row in rows if row.name not in losses)
    return Problem(fixed=fixed, units=tuple(units), order=tuple(row.name for row in rows))


def smallest_within(found: Problem, loss: float) -> Choice | None:
    """The smallest plan whose predicted loss is at most `loss`; None where none is."""
    picks = [0] * len(found.units)
    while _loss(found, picks) > loss:
        step = _best_step(found, picks, None)
        if step is None:
            return None
        picks[step] += 1
    # The last step may have bought more than was needed: what can go back without breaking the bound does
    for unit in sorted(range(len(picks)), key=lambda u: -_gain(found, picks, u)):
        while picks[unit] and _loss(found, [*picks[:unit], picks[unit] - 1, *picks[unit + 1 :]]) <= loss:
            picks[unit] -= 1
    return _choice(found, picks)


def best_within(found: Problem, size: int) -> Choice:
    """The plan of the least predicted loss that takes at most `size` bytes.

    Raises:
        CalibrationError: the smallest plan takes more.
    """
    picks = [0] * len(found.units)
    least = _choice(found, picks)
    if least.bytes > size:
        raise CalibrationError(
            f"the smallest mixture takes {least.bytes:,} bytes of tensors, --max-size leaves {size:,} for them: "
            "choose fewer layers, or a lower rank"
        )
    while (step := _best_step(found, picks, size)) is not None:
        picks[step] += 1
    return _choice(found, picks)


def _allowed(sub: SubModel, target: Target, name: str, schemes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(row_for(sub, target, name, scheme, "").scheme for scheme in schemes))


def _units(sub: SubModel, target: Target, names: Mapping[str, object]) -> list[list[str]]:
    """Tensors that must have one scheme together."""
    if not CANDIDATES[target].joined:
        return [[name] for name in names]
    tables = [[name] for name in names if name in (TABLE, TABLE_LEFT)]
    return [*tables, *(site.names(layer) for layer in range(sub.config.layers) for site in SITES)]


def _options(
    sub: SubModel, target: Target, names: Sequence[str], losses: Mapping[str, Mapping[str, float]]
) -> tuple[Option, ...]:
    """The options on the lower convex hull: others are never worth their bytes."""
    found = []
    for scheme in losses[names[0]]:
        if all(scheme in losses[name] for name in names):
            rows = tuple(row_for(sub, target, name, scheme, "auto: by measured losses") for name in names)
            loss = sum(losses[name][scheme] for name in names)
            found.append(Option(rows=rows, bytes=sum(row.bytes for row in rows), loss=loss))
    hull: list[Option] = []
    for option in sorted(found, key=lambda one: (one.bytes, one.loss)):
        if hull and option.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _rate(hull[-2], hull[-1]) <= _rate(hull[-1], option):
            hull.pop()
        hull.append(option)
    return tuple(hull)


def _rate(before: Option, after: Option) -> float:
    """Loss that a byte more takes away."""
    return (before.loss - after.loss) / max(1, after.bytes - before.bytes)


def _best_step(found: Problem, picks: Sequence[int], size: int | None) -> int | None:
    """The unit whose next option buys the most a byte, among those that still fit; None at the end."""
    taken = _choice_bytes(found, picks)
    best, rate = None, 0.0
    for unit, (options, pick) in enumerate(zip(found.units, picks, strict=True)):
        if pick + 1 == len(options):
            continue
        before, after = options[pick], options[pick + 1]
        fits = size is None or taken + after.bytes - before.bytes <= size
        if fits and _rate(before, after) > rate:
            best, rate = unit, _rate(before, after)
    return best


def _gain(found: Problem, picks: Sequence[int], unit: int) -> int:
    """Bytes that the unit's last step took."""
    options, pick = found.units[unit], picks[unit]
    return options[pick].bytes - options[pick - 1].bytes if pick else 0


def _loss(found: Problem, picks: Sequence[int]) -> float:
    return sum(options[pick].loss for options, pick in zip(found.units, picks, strict=True))


def _choice_bytes(found: Problem, picks: Sequence[int]) -> int:
    chosen = sum(options[pick].bytes for options, pick in zip(found.units, picks, strict=True))
    return chosen + sum(row.bytes for row in found.fixed)


def _choice(found: Problem, picks: Sequence[int]) -> Choice:
    chosen = [row for options, pick in zip(found.units, picks, strict=True) for row in options[pick].rows]
    rows = {row.name: row for row in (*found.fixed, *chosen)}
    ordered = tuple(rows[name] for name in found.order)
    return Choice(rows=ordered, loss=_loss(found, picks), bytes=_choice_bytes(found, picks))
