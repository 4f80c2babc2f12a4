"""Estimates of artifacts, and of cuts that were not made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlexport.artifact import IDS, Artifact, Variant, is_artifact, read_artifact
from mlexport.errors import UsageError
from mlexport.estimate.accuracy import read_accuracy
from mlexport.estimate.count import artifact_work
from mlexport.estimate.planned import planned_operators, planned_work
from mlexport.estimate.run import Counted, Settings, estimate_all
from mlexport.latency import EstimateResult, Subject
from mlexport.pipeline.plan import plan_slice
from mlexport.profile import Profile
from mlexport.profiles import load_profile, require_estimable
from mlexport.progress import Progress
from mlexport.request import SliceRequest
from mlexport.results import SlicePlan, VariantPlan
from mlexport.spec import SubModelSpec
from mlexport.textfacts import TOKENIZER

TOKENS = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRequest:
    """What is to be estimated.

    Attributes:
        subjects: folders of artifacts, and names of cuts such as L8-D128.
        profiles: names or paths of device profiles.
        tokens: of each text, the end token included.
        batches: texts in a call.
        variant: the only model file of each artifact; None takes all that take ids.
        cut: model, targets, precisions and so on of the cuts; their numbers are in their names.
    """

    subjects: Sequence[str]
    profiles: Sequence[str]
    tokens: Sequence[int] = TOKENS
    batches: Sequence[int] = (1,)
    variant: str | None = None
    cut: SliceRequest = field(default_factory=SliceRequest)


def estimate_latency(request: EstimateRequest, *, progress: Progress | None = None) -> EstimateResult:
    """Latency of each subject on each profile, without running anything.

    Raises:
        UsageError: no such profile, a subject that is neither an artifact nor a cut, or numbers that make no sense.
        ArtifactError: a damaged artifact.
        CheckpointError: the model of a cut cannot be opened.
    """
    _check(request)
    profiles = [load_profile(name) for name in request.profiles]
    for profile in profiles:
        if not profile.unit.times:
            require_estimable(profile)
    counted = [one for name in request.subjects for one in _counted(name, request, progress)]
    settings = Settings(tokens=request.tokens, batches=request.batches)
    return estimate_all(_unique(counted), profiles, settings, read_accuracy(), _unsupported)


def estimate_plans(
    plans: Iterable[SlicePlan], profiles: Sequence[Profile], *, tokens: Sequence[int], batches: Sequence[int]
) -> EstimateResult:
    """The same for cuts that are planned already, in their order."""
    counted = [_of_plan(plan, one) for plan in plans for one in plan.variants if one.takes == IDS]
    settings = Settings(tokens=tokens, batches=batches)
    return estimate_all(_unique(counted), profiles, settings, read_accuracy(), _unsupported)


def _check(request: EstimateRequest) -> None:
    if not request.subjects:
        raise UsageError("nothing to estimate: give the folder of an artifact, or a cut such as L8-D128")
    if not request.profiles:
        raise UsageError("no device: pass --profile NAME; `mlexport profiles ls` lists them")
    for name, values, least in (("--tokens", request.tokens, 2), ("--batch", request.batches, 1)):
        if not values or min(values) < least:
            raise UsageError(f"{name} is {', '.join(map(str, values)) or 'empty'}: the least is {least}")


def _counted(name: str, request: EstimateRequest, progress: Progress | None) -> Iterator[Counted]:
    if Path(name).is_dir() or is_artifact(Path(name)):
        artifact = read_artifact(Path(name))
        variants = artifact.manifest.variants
        chosen = [v for v in variants if v.takes == IDS] if request.variant is None else [_variant(artifact, request)]
        for variant in chosen:
            yield _of_artifact(artifact, variant)
        return
    try:
        spec = SubModelSpec.parse(name)
    except UsageError:
        raise UsageError(
            f"'{name}' is neither the folder of an artifact nor a cut: expected a folder that `mlexport slice` wrote, "
            "or a name such as L8-D128"
        ) from None
    for plan in plan_slice(_asked(spec, request.cut), progress=progress):
        yield from (_of_plan(plan, planned) for planned in plan.variants if planned.takes == IDS)


def _variant(artifact: Artifact, request: EstimateRequest) -> Variant:
    return artifact.manifest.variant(request.variant)


def _asked(spec: SubModelSpec, cut: SliceRequest) -> SliceRequest:
    """The cut's request; a number of tokens in its name keeps the first ones, unless the options say which."""
    vocab = cut.vocab or (() if spec.vocab is None else (str(spec.vocab),))
    return replace(cut, layers=spec.layers, rank=spec.rank, dim=spec.dim, vocab=vocab)


def _of_artifact(artifact: Artifact, variant: Variant) -> Counted:
    # First: a folder of `hf` has no file to count
    work = artifact_work(artifact, variant)
    manifest = artifact.manifest
    files = {entry.path: entry for entry in manifest.files}
    model = files.get(variant.model_file)
    kept = variant.retention
    subject = Subject(
        name=f"{manifest.spec} {manifest.target} {variant.name}",
        artifact=str(artifact.folder),
        model=manifest.model,
        spec=manifest.spec,
        target=manifest.target,
        variant=variant.name,
        precision=variant.precision,
        sha256=None if model is None else model.sha256,
        bytes=manifest.shipped_bytes(variant),
        cosine=variant.verification.mean_cosine,
        retained=None if kept is None else kept.retained_ndcg.value,
    )
    stem = str(Path(variant.model_file).with_suffix(""))
    # An IR's weights and an ONNX file's data lie beside it
    size = sum(entry.bytes for path, entry in files.items() if path.startswith(stem + "."))
    return Counted(subject=subject, work=work, file_bytes=size)


def _of_plan(plan: SlicePlan, variant: VariantPlan) -> Counted:
    sub, size = plan.sub, sum(row.bytes for row in variant.rows)
    fixed = "" if sub.shape is None else " {}x{}".format(*sub.shape)
    subject = Subject(
        name=f"{sub.spec.name} {plan.target} {variant.precision}{fixed}",
        artifact=None,
        model=sub.checkpoint.name,
        spec=sub.spec.name,
        target=plan.target.value,
        variant=variant.name,
        precision=variant.precision,
        sha256=None,
        bytes=size + (sub.checkpoint.folder / TOKENIZER).stat().st_size,
        cosine=None,
        retained=None,
    )
    operators = planned_operators(sub, plan.target, variant.rows)
    return Counted(subject=subject, work=planned_work(sub, plan.target, variant.rows, operators), file_bytes=size)


def _unique(counted: Sequence[Counted]) -> list[Counted]:
    """Names that tell the subjects apart: the folder's in front where the cut's does not."""
    names = [one.subject.name for one in counted]
    found: list[Counted] = []
    for one in counted:
        subject = one.subject
        if names.count(subject.name) > 1 and subject.artifact is not None:
            subject = replace(subject, name=f"{Path(subject.artifact).name}: {subject.name}")
        same = sum(other.subject.name.split(" #")[0] == subject.name for other in found)
        found.append(replace(one, subject=replace(subject, name=subject.name + (f" #{same + 1}" if same else ""))))
    return found


def _unsupported(operators: Iterable[str], which: str) -> tuple[str, ...]:
    from mlexport.npu import unsupported  # noqa: PLC0415

    return unsupported(operators, which)
