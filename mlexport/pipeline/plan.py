"""Everything before a tensor is written: load, cut, plan; and what losses a sweep measures."""

from __future__ import annotations

from dataclasses import replace

from mlexport.artifact import (
    IDS,
    TEXT,
)
from mlexport.calibrate.texts import CalibrationTexts, read_calibration
from mlexport.calibrated import choose_mixture, sensitivity
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import UsageError
from mlexport.fit import require_fit
from mlexport.kept import KeptTokens
from mlexport.model import Checkpoint, SubModel
from mlexport.places import folder_of, source_of
from mlexport.profiles import load_profile
from mlexport.progress import Progress, Steps
from mlexport.quantize.plan import plan_tensors
from mlexport.request import BUILTIN_TEXTS, Bound, CheckedRequest, SliceRequest, check
from mlexport.results import (
    Sensitivity,
    SlicePlan,
    VariantPlan,
    plan_sizes,
    with_saved_bytes,
)
from mlexport.retained import StoredVectors
from mlexport.slicing import cut, spec_of
from mlexport.spec import AUTO, Target, parse_target
from mlexport.vocabulary import Chosen, choose, parse_vocabulary


def plan_slice(request: SliceRequest, *, progress: Progress | None = None) -> list[SlicePlan]:
    """What `slice_model` would write, with exact sizes; nothing is written, no tensor is read.

    Errors are those of `slice_model`.
    """
    checked = check(request)
    wanted = parse_vocabulary(request.vocab, request.vocab_coverage)
    texts = None if checked.calibrate is None else read_calibration(checked.calibrate)
    steps = Steps(progress)
    with steps.step("load"):
        checkpoint = open_checkpoint(request.model)
    chosen = None
    if wanted is not None:
        with steps.step("vocabulary"):
            chosen = choose(checkpoint, wanted)
    return plan_cut(checkpoint, chosen, request, texts=texts, steps=steps)


def plan_cut(
    checkpoint: Checkpoint,
    chosen: Chosen | None,
    request: SliceRequest,
    *,
    texts: CalibrationTexts | None,
    steps: Steps,
) -> list[SlicePlan]:
    """The same for a checkpoint that is open, tokens that are chosen, and calibration texts that are read.

    Errors are those of `slice_model`.
    """
    checked = check(request)
    profile = None if request.profile is None else load_profile(request.profile)
    with steps.step("cut"):
        sub = cut_of(checkpoint, request, checked, None if chosen is None else chosen.kept)
    with steps.step("plan"):
        planned = {target: _plan_variants(sub, target, checked, request.text_in) for target in checked.targets}
    variants = {target: _mixed(sub, target, found, (checked.bound, texts), steps) for target, found in planned.items()}
    plans = [
        SlicePlan(
            source=source_of(checkpoint, request.model),
            sub=sub,
            target=target,
            variants=variants[target],
            vocabulary=None if chosen is None else with_saved_bytes(chosen, variants[target]),
            out=folder_of(
                request.out,
                sub,
                target,
                [*checked.precisions[target], *filter(None, [checked.tables[target]])],
                several=len(checked.targets) > 1,
            ),
            steps=tuple(steps.done),
            texts=texts,
            profile=profile,
        )
        for target in checked.targets
    ]
    if profile is not None:
        for plan in plans:
            require_fit(profile, plan)
    return plans


def cut_of(checkpoint: Checkpoint, request: SliceRequest, checked: CheckedRequest, kept: KeptTokens | None) -> SubModel:
    """The cut that a request asks for, with the tokens that stay."""
    spec = spec_of(checkpoint, layers=request.layers, vocabulary=kept, rank=request.rank, dim=request.dim)
    sub = cut(checkpoint, spec, allow_untrained=request.allow_untrained, vocabulary=kept, shape=checked.shape)
    return replace(sub, stored=StoredVectors(precision=checked.vectors.value), chip=checked.chip)


def _plan_variants(sub: SubModel, target: Target, checked: CheckedRequest, text_in: bool) -> tuple[VariantPlan, ...]:
    found = []
    for precision in checked.precisions[target]:
        # A mixture's rows come once its losses are measured
        rows = (
            ()
            if precision == AUTO
            else plan_tensors(sub, target, precision, checked.tables[target], weighted=checked.calibrate is not None)
        )
        ids = VariantPlan(
            precision=precision,
            table_precision=checked.tables[target],
            takes=IDS,
            rows=rows,
            sizes=plan_sizes(sub.spec, rows),
        )
        found += [ids, replace(ids, takes=TEXT)] if text_in else [ids]
    return tuple(found)


def _mixed(
    sub: SubModel,
    target: Target,
    variants: tuple[VariantPlan, ...],
    asked: tuple[Bound, CalibrationTexts | None],
    steps: Steps,
) -> tuple[VariantPlan, ...]:
    """The variants, those of precision "auto" with what the measured losses chose."""
    bound, texts = asked
    if texts is None or all(variant.precision != AUTO for variant in variants):
        return variants
    with steps.step("sweep", sum(len(tensor.shape) == 2 for tensor in sub.tensors.values())):
        mixture = choose_mixture(sub, target, bound, texts, steps.progress.advance)
    rows = mixture.choice.rows
    sizes = plan_sizes(sub.spec, rows)
    return tuple(replace(v, rows=rows, sizes=sizes, mixture=mixture) if v.precision == AUTO else v for v in variants)


def measure_sensitivity(request: SliceRequest, *, progress: Progress | None = None) -> Sensitivity:
    """What each tensor of a cut costs at each precision of one target: the losses that precision "auto" chooses by.

    Args:
        request: model, cut, one target, and calibration texts ("builtin" where nothing is said).

    Raises:
        UsageError: not one target that quantises.
        CalibrationError: the measuring process failed.
    """
    targets = [parse_target(name) for name in request.targets]
    if len(targets) != 1 or targets[0] is Target.HF:
        raise UsageError(f"sensitivity is measured for one target that quantises, got {', '.join(targets)}")
    texts = read_calibration(request.calibrate or BUILTIN_TEXTS)
    steps = Steps(progress)
    with steps.step("load"):
        checkpoint = open_checkpoint(request.model)
    spec = spec_of(checkpoint, layers=request.layers, vocabulary=None, rank=request.rank, dim=request.dim)
    sub = cut(checkpoint, spec, allow_untrained=request.allow_untrained)
    with steps.step("sweep", sum(len(tensor.shape) == 2 for tensor in sub.tensors.values())):
        costs = sensitivity(sub, targets[0], texts, steps.progress.advance)
    return Sensitivity(model=checkpoint.name, spec=sub.spec.name, target=targets[0], texts=texts, costs=costs)
