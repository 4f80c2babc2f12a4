"""The only place that chains the steps: load, cut, plan, write, verify, commit; and what reads an artifact back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from mlexport import export
from mlexport import verify as verification
from mlexport.artifact import (
    FORMAT_VERSION,
    Artifact,
    Manifest,
    TableError,
    VerifyReport,
    is_artifact,
    read_artifact,
    verify_files,
)
from mlexport.checkpoint import open_checkpoint
from mlexport.commit import building, check_target, require_space
from mlexport.errors import UsageError, VerificationError
from mlexport.places import folder_of, needed_bytes, source_of
from mlexport.progress import Progress, Steps
from mlexport.quantize.error import table_error
from mlexport.quantize.plan import plan_tensors
from mlexport.results import CheckpointFacts, CutSize, SlicePlan, SliceResult, checkpoint_sizes, failure, plan_sizes
from mlexport.slicing import cut, shortened
from mlexport.spec import SubModelSpec, Target, parse_shape, parse_target, resolve_precision


def plan_slice(
    model: str = "demo",
    *,
    layers: int | None = None,
    rank: int | None = None,
    dim: int | None = None,
    targets: Sequence[str] = ("gguf",),
    precision: str | None = None,
    table_precision: str | None = None,
    out: Path | None = None,
    allow_untrained: bool = False,
    text_in: bool = False,
    static: str | None = None,
    progress: Progress | None = None,
) -> list[SlicePlan]:
    """What `slice_model` would write, with exact sizes; nothing is written, no tensor is read.

    Args and errors are those of `slice_model`.
    """
    # Cheap checks of all options come before a checkpoint is opened, let alone downloaded
    chosen = _targets(targets, text_in=text_in, static=static)
    shape = None if static is None else parse_shape(static)
    precisions = {target: resolve_precision(target, precision) for target in chosen}
    tables = {t: None if table_precision is None else resolve_precision(t, table_precision) for t in chosen}
    steps = Steps(progress)
    with steps.step("load"):
        checkpoint = open_checkpoint(model)
    with steps.step("cut"):
        config = checkpoint.config
        whole = SubModelSpec(layers=config.layers, rank=None, dim=config.hidden)
        spec = replace(
            whole, **{k: v for k, v in {"layers": layers, "rank": rank, "dim": dim}.items() if v is not None}
        )
        sub = cut(checkpoint, spec, allow_untrained=allow_untrained, shape=shape)
    with steps.step("plan"):
        rows = {target: tuple(plan_tensors(sub, target, precisions[target], tables[target])) for target in chosen}
    return [
        SlicePlan(
            source=source_of(checkpoint, model),
            sub=sub,
            target=target,
            precision=precisions[target],
            table_precision=tables[target],
            rows=rows[target],
            out=folder_of(out, sub, target, (precisions[target], tables[target]), several=len(chosen) > 1),
            text_in=text_in,
            steps=tuple(steps.done),
        )
        for target in chosen
    ]


def _targets(names: Sequence[str], *, text_in: bool, static: str | None) -> list[Target]:
    """The targets, each once."""
    chosen = list(dict.fromkeys(parse_target(name) for name in names))
    if not chosen:
        raise UsageError(f"no target: choose from {', '.join(Target)}")
    others = [target for target in chosen if target != Target.ONNX]
    if text_in and others:
        raise UsageError(f"--text-in is for target onnx, not for {', '.join(others)}: leave one of them out")
    dynamic = [target for target in chosen if target not in (Target.ONNX, Target.OPENVINO)]
    if static is not None and (dynamic or text_in):
        other = "--text-in" if text_in else f"target {', '.join(dynamic)}"
        raise UsageError(f"--static is for targets onnx and openvino, not with {other}: leave one of them out")
    return chosen


def slice_model(
    model: str = "demo",
    *,
    layers: int | None = None,
    rank: int | None = None,
    dim: int | None = None,
    targets: Sequence[str] = ("gguf",),
    precision: str | None = None,
    table_precision: str | None = None,
    out: Path | None = None,
    allow_untrained: bool = False,
    text_in: bool = False,
    static: str | None = None,
    verify: str = "full",
    force: bool = False,
    progress: Progress | None = None,
) -> list[SliceResult]:
    """Cut a checkpoint, write it in each target's format, verify it, and commit it.

    Args:
        model: "demo", a folder, or a hub id with an optional "@revision".
        layers: decoder layers kept; None keeps all.
        rank: rank of the token table; None keeps the checkpoint's own table.
        dim: numbers of the vector kept; None keeps all.
        targets: "gguf", "hf", "onnx", "openvino"; the checkpoint, the cut and the reference are shared.
        precision: one of the target's names, see `mlexport.spec.PRECISIONS`; None takes each target's default.
        table_precision: precision of the token table alone.
        out: folder of the artifact, or of one folder a target if there are several; None makes a name under `out/`.
        allow_untrained: cut where the checkpoint was not trained.
        text_in: for "onnx", a second file with the tokenizer inside, which takes strings.
        static: "BATCHxTOKENS", such as "1x128": fixed shapes for accelerators ("onnx", "openvino").
        verify: "full", "sample" or "off".
        force: replace an artifact at the target.
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
    plans = plan_slice(
        model,
        layers=layers,
        rank=rank,
        dim=dim,
        targets=targets,
        precision=precision,
        table_precision=table_precision,
        out=out,
        allow_untrained=allow_untrained,
        text_in=text_in,
        static=static,
        progress=progress,
    )
    return write_slices(plans, verify=verify, force=force, progress=progress)


def write_slices(
    plans: Sequence[SlicePlan], *, verify: str = "full", force: bool = False, progress: Progress | None = None
) -> list[SliceResult]:
    """Write, verify and commit what `plan_slice` planned; arguments and errors are those of `slice_model`."""
    verification.parse_mode(verify)
    for plan in plans:
        check_target(plan.out, force=force)
    require_space(plans[0].out, sum(needed_bytes(plan) for plan in plans))
    # One reference for all targets; it starts here, and computes while the first artifact is written
    with verification.Reference(plans[0].sub, verify) as reference:
        return [_make(plan, Steps(progress, plan.steps), reference, force=force) for plan in plans]


def _make(plan: SlicePlan, steps: Steps, reference: verification.Reference, *, force: bool) -> SliceResult:
    """Write, verify and commit one planned artifact."""
    with building(plan.out, needed_bytes=needed_bytes(plan), force=force) as build:
        with steps.step("write", plan.after.bytes * (2 if plan.text_in else 1)):
            model_file = export.load(plan.target).write(plan.sub, plan.rows, build.folder, steps.progress.advance)
            if plan.text_in:
                export.write_text_in(plan.sub, plan.rows, build.folder / model_file, steps.progress.advance)
        with steps.step("verify"):
            report = verification.verify(
                reference,
                plan.target,
                precisions=_precisions(plan.precision, plan.table_precision),
                folder=build.folder,
                model_file=model_file,
            )
        if report.status == "failed":
            done = ", ".join(step.name for step in steps.done[:-1])
            raise VerificationError(f"verify failed for {plan.label} after {done}: {failure(report)}. Nothing was kept")
        lost = None
        if report.status != "off":
            with steps.step("table"):
                lost = table_error(plan.sub, plan.target, plan.rows)
        with steps.step("commit"):
            artifact = build.commit(_manifest(plan, model_file, report, lost))
    return SliceResult(artifact=artifact, steps=tuple(steps.done))


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


def verify_artifact(
    folder: Path, mode: str = "full", *, model: str | None = None, progress: Progress | None = None
) -> VerifyReport | None:
    """Check an artifact's files against its manifest, and its vectors against the checkpoint it was cut from.

    Args:
        mode: "full", "sample", or "off" for the files alone.
        model: the checkpoint, where it no longer is where the manifest says.

    Returns:
        The comparison, its status "passed" or "failed"; None for "off".

    Raises:
        ArtifactError: a file is missing or changed.
        CheckpointError: the checkpoint cannot be opened.
    """
    verification.parse_mode(mode)
    steps = Steps(progress)
    artifact = read_artifact(folder)
    manifest = artifact.manifest
    with steps.step("sha256", sum(entry.bytes for entry in manifest.files)):
        verify_files(artifact, steps.progress.advance)
    if mode == "off":
        return None
    with steps.step("load"):
        checkpoint = open_checkpoint(model or manifest.source)
    with steps.step("cut"):
        # As short as a static artifact's texts are
        checkpoint = shortened(checkpoint, artifact.text.max_length)
        sub = cut(checkpoint, SubModelSpec.parse(manifest.spec), allow_untrained=True)
    with steps.step("verify"), verification.Reference(sub, mode) as reference:
        return verification.verify(
            reference,
            parse_target(manifest.target),
            precisions=_precisions(manifest.precision, manifest.table_precision),
            folder=folder,
            model_file=manifest.model_file,
        )


def _precisions(precision: str, table_precision: str | None) -> list[str]:
    return [precision] if table_precision is None else [precision, table_precision]


def _manifest(plan: SlicePlan, model_file: str, report: VerifyReport, lost: TableError | None) -> Manifest:
    checkpoint = plan.sub.checkpoint
    return Manifest(
        format_version=FORMAT_VERSION,
        tool=f"mlexport {version('mlexport')}",
        model=checkpoint.name,
        revision=checkpoint.revision,
        source=plan.source,
        spec=plan.sub.spec.name,
        target=plan.target.value,
        precision=plan.precision,
        table_precision=plan.table_precision,
        model_file=model_file,
        hidden=checkpoint.config.hidden,
        text=asdict(checkpoint.text),
        sizes={"before": asdict(plan.before), "after": asdict(plan.after)},
        untrained=plan.sub.untrained,
        notes=plan.sub.notes,
        plan=plan.rows,
        table_error=lost,
        verification=report,
        files=(),
    )
