"""Write, verify, weigh and commit what was planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlexport import evaluation, export
from mlexport import verify as verification
from mlexport.artifact import (
    IDS,
    TEXT,
    VerifyReport,
)
from mlexport.calibrated import calibrated
from mlexport.commit import Build, building, check_target, require_space
from mlexport.errors import UsageError, VerificationError
from mlexport.evaluate.beir import BUILTIN
from mlexport.evaluate.retention import CALIBRATION_DOCUMENTS
from mlexport.facts import CompiledFacts, DeviceCheck
from mlexport.fit import check_operators
from mlexport.kept import write_kept
from mlexport.licence import carry_licence
from mlexport.manifests import manifest_of, variants_of
from mlexport.pipeline.plan import plan_slice
from mlexport.places import needed_bytes
from mlexport.progress import Progress, Steps
from mlexport.quantize.error import table_error
from mlexport.request import SliceRequest
from mlexport.results import (
    SlicePlan,
    SliceResult,
    failure,
)
from mlexport.spec import Target
from mlexport.vector_range import needs_range, require_equal_codes, with_range


def slice_model(
    request: SliceRequest,
    *,
    verify: str = "full",
    force: bool = False,
    retention: bool = False,
    data: str = BUILTIN,
    sample: int | None = None,
    progress: Progress | None = None,
) -> list[SliceResult]:
    """Cut a checkpoint, write it in each target's format, verify it, and commit it.

    Args:
        verify: "full", "sample" or "off".
        force: replace an artifact at the target.
        retention: measure what each model file keeps of the full model.
        data: "builtin", or a folder in BEIR's layout: what retention is measured on.
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
    return write_slices(
        plans, verify=verify, force=force, retention=retention, data=data, sample=sample, progress=progress
    )


def write_slices(
    plans: Sequence[SlicePlan],
    *,
    verify: str = "full",
    force: bool = False,
    retention: bool = False,
    data: str = BUILTIN,
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
        full = evaluation.open_reference(plans[0].source, data, steps, sample) if retention else None
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
            written = write_variants(plan, build.folder, steps.progress.advance)
        devices = _devices(plan, build, written)
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
            compiled = compiled_of(plan, build.folder, written)
            variants = variants_of(plan, written, reports, errors, kept, compiled=compiled, devices=devices)
            artifact = build.commit(manifest_of(plan, variants))
    return SliceResult(artifact=artifact, steps=tuple(steps.done))


def write_variants(plan: SlicePlan, folder: Path, advance: Callable[[int], None]) -> list[str]:
    """Write every variant and what belongs to them but the manifest; the model files, relative to the folder.

    Args:
        advance: told the bytes of each block.
    """
    written: list[str] = []
    for variant in plan.variants:
        if variant.takes == TEXT:
            # Planned right behind the file that takes ids
            beside = written[-1]
            name = export.load_text(plan.target).write_text_in(
                variant.sub or plan.sub, variant.rows, folder, beside, advance
            )
        else:
            name = export.load(plan.target).write(
                variant.sub or plan.sub,
                variant.rows,
                folder,
                advance,
                precision=variant.precision,
            )
        written.append(name)
    write_kept(plan.sub.vocabulary, folder)
    carry_licence(plan.sub.checkpoint.folder, folder)
    return written


def _devices(plan: SlicePlan, build: Build, written: Sequence[str]) -> Mapping[str, DeviceCheck]:
    if plan.profile is None:
        return {}
    checks = {name: check_operators(plan.profile, plan.target, build.folder / name) for name in written}
    return {name: check for name, check in checks.items() if check is not None}


def compiled_of(plan: SlicePlan, folder: Path, written: Sequence[str]) -> Mapping[str, CompiledFacts]:
    """What model files in a folder were compiled for, by their names; none for targets that are not compiled."""
    if plan.target is not Target.QNN:
        return {}
    from mlexport.export.qnn import compiled_facts  # noqa: PLC0415

    return {name: compiled_facts(plan.sub, folder / name) for name in written}


def _require_passed(plan: SlicePlan, reports: Sequence[VerifyReport], steps: Steps) -> None:
    for variant, report in zip(plan.variants, reports, strict=True):
        if report.status == "failed":
            done = ", ".join(step.name for step in steps.done[:-1])
            label = f"{plan.sub.spec.name} {plan.target} {variant.name}"
            raise VerificationError(f"verify failed for {label} after {done}: {failure(report)}. Nothing was kept")
