"""What a plan and its outcomes are as a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version

from mlexport.artifact import FORMAT_VERSION, Manifest, Variant, VerifyReport
from mlexport.facts import CompiledFacts, DeviceCheck, TableError
from mlexport.results import SlicePlan
from mlexport.retained import RetentionReport


def variants_of(
    plan: SlicePlan,
    files: Sequence[str],
    reports: Sequence[VerifyReport],
    errors: Mapping[str, TableError | None],
    kept: Mapping[str, RetentionReport],
    *,
    compiled: Mapping[str, CompiledFacts],
    devices: Mapping[str, DeviceCheck],
) -> tuple[Variant, ...]:
    """The manifest's variants.

    Args:
        files, reports: one for each of the plan's variants.
        errors, kept: by precision; a file that takes text has those of the one that takes ids.
        compiled, devices: by model file.
    """
    return tuple(
        Variant(
            precision=variant.precision,
            table_precision=variant.table_precision,
            takes=variant.takes,
            model_file=model_file,
            sizes=asdict(variant.sizes),
            plan=variant.rows,
            table_error=errors.get(variant.precision),
            verification=report,
            retention=kept.get(variant.precision),
            calibration=variant.calibration,
            auto=variant.auto,
            compiled=compiled.get(model_file),
            device=devices.get(model_file),
        )
        for variant, model_file, report in zip(plan.variants, files, reports, strict=True)
    )


def manifest_of(plan: SlicePlan, variants: tuple[Variant, ...]) -> Manifest:
    """The manifest but for its files."""
    checkpoint = plan.sub.checkpoint
    return Manifest(
        format_version=FORMAT_VERSION,
        tool=f"mlexport {version('mlexport')}",
        model=checkpoint.name,
        revision=checkpoint.revision,
        source=plan.source,
        spec=plan.sub.spec.name,
        target=plan.target.value,
        hidden=checkpoint.config.hidden,
        text=asdict(plan.sub.text),
        before=asdict(plan.before),
        untrained=plan.sub.untrained,
        notes=plan.sub.notes,
        vectors=plan.sub.stored,
        vocabulary=plan.vocabulary,
        variants=variants,
        files=(),
    )
