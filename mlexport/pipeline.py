"""The only place that chains the steps: load, cut, plan, write, verify, commit; and what reads an artifact back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlexport import evaluation, export
from mlexport import verify as verification
from mlexport.artifact import (
    IDS,
    TEXT,
    Artifact,
    VerifyReport,
    is_artifact,
    read_artifact,
    verify_files,
)
from mlexport.calibrate.texts import CalibrationTexts, read_calibration
from mlexport.calibrated import calibrated, choose_mixture, sensitivity
from mlexport.checkpoint import open_checkpoint
from mlexport.commit import Build, building, check_target, require_space
from mlexport.errors import UsageError, VerificationError
from mlexport.evaluate.retention import CALIBRATION_DOCUMENTS
from mlexport.kept import read_kept, write_kept
from mlexport.manifests import manifest_of, variants_of
from mlexport.model import SubModel
from mlexport.places import folder_of, needed_bytes, source_of
from mlexport.progress import Progress, Steps
from mlexport.quantize.error import table_error
from mlexport.quantize.plan import plan_tensors
from mlexport.request import BUILTIN_TEXTS, Bound, CheckedRequest, SliceRequest, check
from mlexport.results import (
    CheckpointFacts,
    CutSize,
    Sensitivity,
    SlicePlan,
    SliceResult,
    VariantPlan,
    checkpoint_sizes,
    failure,
    plan_sizes,
    with_saved_bytes,
)
from mlexport.retained import StoredVectors
from mlexport.slicing import cut, shortened, spec_of
from mlexport.spec import AUTO, SubModelSpec, Target, parse_target, resolve_precision
from mlexport.vector_range import needs_range, require_equal_codes, with_range
from mlexport.vocabulary import choose, parse_vocabulary


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
    with steps.step("cut"):
        chosen = None if wanted is None else choose(checkpoint, wanted)
        kept = None if chosen is None else chosen.kept
        spec = spec_of(checkpoint, layers=request.layers, vocabulary=kept, rank=request.rank, dim=request.dim)
        sub = cut(checkpoint, spec, allow_untrained=request.allow_untrained, vocabulary=kept, shape=checked.shape)
        sub = replace(sub, stored=StoredVectors(precision=checked.vectors.value))
    with steps.step("plan"):
        planned = {target: _plan_variants(sub, target, checked, request.text_in) for target in checked.targets}
    variants = {target: _mixed(sub, target, found, (checked.bound, texts), steps) for target, found in planned.items()}
    return [
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
        )
        for target in checked.targets
    ]


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


def slice_model(
    request: SliceRequest,
    *,
    verify: str = "full",
    force: bool = False,
    retention: bool = False,
    sample: int | None = None,
    progress: Progress | None = None,
) -> list[SliceResult]:
    """Cut a checkpoint, write it in each target's format, verify it, and commit it.

    Args:
        verify: "full", "sample" or "off".
        force: replace an artifact at the target.
        retention: measure what each model file keeps of the full model on the built-in set.
        sample: so many of its queries; None takes all.
        progress: told about steps and bytes.

    Returns:
        One result a target, in their order.

    Raises:
        UsageError: an option makes no sense; CutError among them for a cut that does not exist.
        CheckpointError: the checkpoint is missing, incomplete or damaged.
        ExportError: the target exists or cannot be written, the disk is full, or another run writes there.
        VerificationError: the vectors differ from the reference; that artifact is removed.
        MissingExtraError: a library of the target, or of the verification, is not installed.
    """
    plans = plan_slice(request, progress=progress)
    return write_slices(plans, verify=verify, force=force, retention=retention, sample=sample, progress=progress)


def write_slices(
    plans: Sequence[SlicePlan],
    *,
    verify: str = "full",
    force: bool = False,
    retention: bool = False,
    sample: int | None = None,
    progress: Progress | None = None,
) -> list[SliceResult]:
    """Write, verify and commit what `plan_slice` planned; arguments and errors are those of `slice_model`."""
    verification.parse_mode(verify)
    if verify == "off" and any(variant.mixture for plan in plans for variant in plan.variants):
        raise UsageError("--precision auto is chosen by its verification: leave --verify off out")
    for plan in plans:
        check_target(plan.out, force=force)
    require_space(plans[0].out, sum(needed_bytes(plan) for plan in plans))
    # One reference for all targets; it starts here, and computes while the first artifact is written
    with verification.Reference(plans[0].sub, verify) as reference:
        steps = Steps(progress, plans[0].steps)
        full = evaluation.open_builtin(plans[0].source, steps, sample) if retention else None
        shared = steps.done[len(plans[0].steps) :]
        return [
            _calibrate_and_make(p, Steps(progress, (*p.steps, *shared)), reference, full, force=force) for p in plans
        ]


def _calibrate_and_make(
    plan: SlicePlan,
    steps: Steps,
    reference: verification.Reference,
    full: evaluation.Reference | None,
    *,
    force: bool,
) -> SliceResult:
    with calibrated(plan, reference, steps) as ready:
        return _make(ready, steps, reference, full, force=force)


def _make(
    plan: SlicePlan,
    steps: Steps,
    reference: verification.Reference,
    full: evaluation.Reference | None,
    *,
    force: bool,
) -> SliceResult:
    """Write, verify and commit one planned artifact."""
    with building(plan.out, needed_bytes=needed_bytes(plan), force=force) as build:
        if needs_range(plan.sub):
            with steps.step("calibrate", CALIBRATION_DOCUMENTS):
                plan = with_range(plan, build.folder, steps.progress)
        with steps.step("write", plan.bytes):
            written = _write(plan, build, steps)
            write_kept(plan.sub.vocabulary, build.folder)
        with steps.step("verify"):
            reports = [
                verification.verify(
                    reference,
                    plan.target,
                    takes=variant.takes,
                    precisions=variant.precisions,
                    folder=build.folder,
                    model_file=model_file,
                    bound=None if variant.auto is None else variant.auto.min_cosine,
                )
                for variant, model_file in zip(plan.variants, written, strict=True)
            ]
        _require_passed(plan, reports, steps)
        if reference.mode != "off":
            by_ids = [file for v, file in zip(plan.variants, written, strict=True) if v.takes == IDS]
            text, dim = plan.sub.text, plan.sub.spec.dim
            require_equal_codes(plan.sub.stored, plan.target, text=text, dim=dim, folder=build.folder, files=by_ids)
        with steps.step("table"):
            # The table of a file that takes text is that of the one that takes ids
            checked = {v.precision: v for v, r in zip(plan.variants, reports, strict=True) if r.status != "off"}
            errors = {name: table_error(plan.sub, plan.target, variant.rows) for name, variant in checked.items()}
        kept = {} if full is None else evaluation.reports(full, plan, build.folder, written, steps)
        with steps.step("commit"):
            variants = variants_of(plan, written, reports, errors, kept)
            artifact = build.commit(manifest_of(plan, variants))
    return SliceResult(artifact=artifact, steps=tuple(steps.done))


def _write(plan: SlicePlan, build: Build, steps: Steps) -> list[str]:
    """Every variant's model file, relative to the folder."""
    written: list[str] = []
    for variant in plan.variants:
        if variant.takes == TEXT:
            # Planned right behind the file that takes ids
            beside = written[-1]
            name = export.load_text(plan.target).write_text_in(
                variant.sub or plan.sub, variant.rows, build.folder, beside, steps.progress.advance
            )
        else:
            name = export.load(plan.target).write(
                variant.sub or plan.sub,
                variant.rows,
                build.folder,
                steps.progress.advance,
                precision=variant.precision,
            )
        written.append(name)
    return written


def _require_passed(plan: SlicePlan, reports: Sequence[VerifyReport], steps: Steps) -> None:
    for variant, report in zip(plan.variants, reports, strict=True):
        if report.status == "failed":
            done = ", ".join(step.name for step in steps.done[:-1])
            label = f"{plan.sub.spec.name} {plan.target} {variant.name}"
            raise VerificationError(f"verify failed for {label} after {done}: {failure(report)}. Nothing was kept")


def inspect(model: str) -> CheckpointFacts | Artifact:
    """What a checkpoint offers, or what an artifact is.

    Args:
        model: "demo", a folder, a hub id with an optional "@revision", or the folder of an artifact.

    Raises:
        CheckpointError: not a checkpoint, or a damaged one.
        ArtifactError: a damaged artifact.
    """
    if is_artifact(Path(model)):
        return read_artifact(Path(model))
    checkpoint = open_checkpoint(model)
    precision = resolve_precision(Target.GGUF, None)
    cuts = []
    for layers in checkpoint.trained_layers:
        spec = SubModelSpec(layers=layers, rank=None, dim=checkpoint.config.hidden)
        # A folder that was cut by dim before has its full width no longer among the trained ones
        sub = cut(checkpoint, spec, allow_untrained=True)
        sizes = plan_sizes(sub.spec, plan_tensors(sub, Target.GGUF, precision, None))
        cuts.append(CutSize(spec=sub.spec.name, target=Target.GGUF, precision=precision, sizes=sizes))
    return CheckpointFacts(checkpoint=checkpoint, sizes=checkpoint_sizes(checkpoint), cuts=tuple(cuts))


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


def verify_artifact(
    folder: Path,
    mode: str = "full",
    *,
    variant: str | None = None,
    model: str | None = None,
    progress: Progress | None = None,
) -> Mapping[str, VerifyReport]:
    """Check an artifact's files against its manifest, and its vectors against the checkpoint it was cut from.

    Args:
        mode: "full", "sample", or "off" for the files alone.
        variant: name of the only one to compare; None compares all.
        model: the checkpoint, where it no longer is where the manifest says.

    Returns:
        Variant name -> the comparison, its status "passed" or "failed"; empty for "off".

    Raises:
        ArtifactError: a file is missing or changed, or there is no such variant.
        CheckpointError: the checkpoint cannot be opened.
    """
    verification.parse_mode(mode)
    steps = Steps(progress)
    artifact = read_artifact(folder)
    manifest = artifact.manifest
    chosen = manifest.variants if variant is None else (manifest.variant(variant),)
    with steps.step("sha256", sum(entry.bytes for entry in manifest.files)):
        verify_files(artifact, steps.progress.advance)
    if mode == "off":
        return {}
    with steps.step("load"):
        checkpoint = open_checkpoint(model or manifest.source)
    with steps.step("cut"):
        # As short as a static artifact's texts are
        checkpoint = shortened(checkpoint, artifact.text.max_length)
        spec, kept = SubModelSpec.parse(manifest.spec), read_kept(folder)
        sub = cut(checkpoint, spec, allow_untrained=True, vocabulary=kept)
    target, files = parse_target(manifest.target), [one.model_file for one in chosen if one.takes == IDS]
    require_equal_codes(manifest.vectors, target, text=artifact.text, dim=sub.spec.dim, folder=folder, files=files)
    with steps.step("verify"), verification.Reference(sub, mode) as reference:
        return {
            one.name: verification.verify(
                reference,
                target,
                takes=one.takes,
                precisions=[one.precision, *filter(None, [one.table_precision])],
                folder=folder,
                model_file=one.model_file,
                bound=None if one.auto is None else one.auto.min_cosine,
            )
            for one in chosen
        }
