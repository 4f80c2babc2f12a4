"""What calibration text changes about a plan: roundings, and the mixture of precision "auto"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mlexport import export
from mlexport import verify as verification
from mlexport.artifact import VerifyReport
from mlexport.calibrate.run import Rounded, measure_losses, round_on_text
from mlexport.calibrate.texts import CalibrationTexts
from mlexport.errors import CalibrationError
from mlexport.facts import AutoFacts
from mlexport.model import SubModel
from mlexport.progress import Steps
from mlexport.quantize.mixed import Choice, Problem, best_within, problem, questions, smallest_within
from mlexport.quantize.plan import row_for
from mlexport.request import Bound
from mlexport.results import Cost, Mixture, SlicePlan, VariantPlan, plan_sizes
from mlexport.spec import AUTO, FLOAT_PRECISIONS, Target

# Mixtures that are written and verified before the best of them is taken
TRIES = 4
# A mixture whose loss is this near to what is allowed is not worth another try
_NEAR = 0.9
# Aimed at, as a share of what is allowed: the prediction is never exact
_AIM = 0.95
# What a runtime opens, and what it opens beside it
_MODEL_SUFFIXES = {".gguf", ".onnx", ".onnx_data", ".xml", ".bin"}


def choose_mixture(
    sub: SubModel, target: Target, bound: Bound, texts: CalibrationTexts, advance: Callable[[int], None]
) -> Mixture:
    """Measure what each tensor costs, and choose by it.

    Args:
        advance: told 1 for each tensor measured.

    Raises:
        CalibrationError: no mixture can meet the bound.
    """
    losses = _measured(sub, target, texts, advance)
    found = problem(sub, target, losses)
    allowed = None if bound.min_cosine is None else 1 - bound.min_cosine
    return Mixture(bound=bound, losses=losses, problem=found, choice=_choose(found, allowed, bound.max_bytes))


def sensitivity(
    sub: SubModel, target: Target, texts: CalibrationTexts, advance: Callable[[int], None]
) -> tuple[Cost, ...]:
    """What each tensor costs at each precision that the target's mixtures choose from, measured one at a time."""
    costs = []
    for name, losses in _measured(sub, target, texts, advance).items():
        for scheme, loss in losses.items():
            row = row_for(sub, target, name, scheme, "")
            costs.append(Cost(tensor=name, scheme=scheme, bytes=row.bytes, loss=loss))
    return tuple(costs)


def _measured(
    sub: SubModel, target: Target, texts: CalibrationTexts, advance: Callable[[int], None]
) -> Mapping[str, Mapping[str, float]]:
    table, schemes = questions(sub, target)
    with TemporaryDirectory(prefix="mlexport-sweep-") as work:
        return measure_losses(sub, target, schemes, table=table, texts=texts, work=Path(work), advance=advance)


def _choose(found: Problem, allowed: float | None, size: int | None) -> Choice:
    if allowed is None:
        assert size is not None
        return best_within(found, size)
    choice = smallest_within(found, allowed)
    if choice is None:
        raise CalibrationError(
            f"no mixture is predicted to lose {allowed:.1e} or less: ask for a lower --min-cosine, or name a precision"
        )
    return choice


@contextmanager
def calibrated(plan: SlicePlan, reference: verification.Reference, steps: Steps) -> Iterator[SlicePlan]:
    """The plan with every variant's matrices rounded on its texts; they lie on the disk until the block ends.

    Raises:
        CalibrationError: the child process failed, or no mixture met the bound.
    """
    texts = plan.texts
    if texts is None:
        yield plan
        return
    with TemporaryDirectory(prefix="mlexport-calibrate-") as work:
        done: dict[str, VariantPlan] = {}
        for variant in plan.variants:
            # A file that takes text has the tensors of the one that takes ids
            if variant.precision not in done:
                made = _Maker(plan=plan, texts=texts, work=Path(work), steps=steps, reference=reference)
                done[variant.precision] = made.variant(variant)
        variants = tuple(replace(done[variant.precision], takes=variant.takes) for variant in plan.variants)
        yield replace(plan, variants=variants)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """A mixture that was written and verified.

    Attributes:
        bytes: of the model's files.
    """

    variant: VariantPlan
    choice: Choice
    loss: float
    bytes: int

    def meets(self, bound: Bound) -> bool:
        """Whether cosine and size are within the bound."""
        near_enough = bound.min_cosine is None or 1 - self.loss >= bound.min_cosine
        return near_enough and (bound.max_bytes is None or self.bytes <= bound.max_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """Rounds the variants of one plan."""

    plan: SlicePlan
    texts: CalibrationTexts
    work: Path
    steps: Steps
    reference: verification.Reference

    def variant(self, variant: VariantPlan) -> VariantPlan:
        """The variant with its matrices rounded; unchanged where nothing is rounded."""
        if variant.mixture is not None:
            return self._mixture(variant, variant.mixture)
        if {row.scheme for row in variant.rows} <= FLOAT_PRECISIONS:
            return variant
        return self._rounded(variant)

    def _rounded(self, variant: VariantPlan) -> VariantPlan:
        work = self.work / str(len(list(self.work.iterdir())))
        work.mkdir()
        plan = self.plan
        with self.steps.step(f"round {variant.precision}", variant.sizes.bytes):
            made: Rounded = round_on_text(
                plan.sub, plan.target, variant.rows, self.texts, work=work, advance=self.steps.progress.advance
            )
        return replace(variant, sub=made.sub, rows=made.rows, calibration=made.facts)

    def _mixture(self, variant: VariantPlan, mixture: Mixture) -> VariantPlan:
        """The smallest mixture that met the bound, or of several of the allowed size the one that lost least."""
        tries = [self._attempt(variant, mixture.choice)]
        while len(tries) < TRIES and (choice := _next(mixture, tries)) is not None:
            tries.append(self._attempt(variant, choice))
        met = [one for one in tries if one.meets(mixture.bound)]
        if not met:
            raise CalibrationError(_missed(mixture.bound, tries))
        best = min(met, key=lambda one: one.loss if mixture.bound.min_cosine is None else one.bytes)
        facts = AutoFacts(
            min_cosine=mixture.bound.min_cosine,
            max_bytes=mixture.bound.max_bytes,
            predicted_loss=best.choice.loss,
            verified_loss=best.loss,
            tries=len(tries),
            losses=mixture.losses,
        )
        return replace(best.variant, auto=facts)

    def _attempt(self, variant: VariantPlan, choice: Choice) -> _Try:
        rows = choice.rows
        made = self._rounded(replace(variant, rows=rows, sizes=plan_sizes(self.plan.sub.spec, rows)))
        assert made.sub is not None
        with TemporaryDirectory(prefix="try-", dir=self.work) as folder, self.steps.step("try"):
            name = export.load(self.plan.target).write(
                made.sub, made.rows, Path(folder), lambda _: None, precision=AUTO
            )
            report: VerifyReport = verification.verify(
                self.reference,
                self.plan.target,
                takes=made.takes,
                precisions=made.precisions,
                folder=Path(folder),
                model_file=name,
            )
            files = [path for path in Path(folder).rglob("*") if path.suffix in _MODEL_SUFFIXES]
            size = sum(path.stat().st_size for path in files)
        loss = 1.0 if report.mean_cosine is None else 1 - report.mean_cosine
        return _Try(variant=made, choice=choice, loss=loss, bytes=size)


def _next(mixture: Mixture, tries: list[_Try]) -> Choice | None:
    """The next mixture to try, with what the others taught; None where another one is not worth its time."""
    bound, found, latest = mixture.bound, mixture.problem, tries[-1]
    size = bound.max_bytes
    if size is not None:
        # What a file has beside its tensors
        size -= max(one.bytes - one.choice.bytes for one in tries)
    if bound.min_cosine is None:
        if latest.meets(bound):
            return None
        return _unless_tried(_choose(found, None, size), tries)
    allowed = 1 - bound.min_cosine
    if _NEAR * allowed <= latest.loss <= allowed:
        return None
    aim = latest.choice.loss * _AIM * allowed / max(latest.loss, 1e-9)
    passed = [one.choice.loss for one in tries if one.loss <= allowed]
    failed = [one.choice.loss for one in tries if one.loss > allowed]
    low, high = max(passed, default=0.0), min(failed, default=float("inf"))
    if not low < aim < high:
        aim = (low + min(high, 2 * max(low, aim))) / 2
    choice = smallest_within(found, aim)
    return None if choice is None else _unless_tried(choice, tries)


def _unless_tried(choice: Choice, tries: list[_Try]) -> Choice | None:
    return None if any(choice.rows == one.choice.rows for one in tries) else choice


def _missed(bound: Bound, tries: list[_Try]) -> str:
    best = min(tries, key=lambda one: one.loss)
    smallest = min(one.bytes for one in tries)
    asked = []
    if bound.min_cosine is not None:
        asked.append(f"mean cosine {bound.min_cosine:g} (best of {len(tries)} mixtures: {1 - best.loss:.5f})")
    if bound.max_bytes is not None:
        asked.append(f"{bound.max_bytes:,} bytes (smallest of {len(tries)} mixtures: {smallest:,})")
    return f"no mixture met {' and '.join(asked)}: ask for less, or name a precision"
