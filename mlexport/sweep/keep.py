"""An artifact of a sweep that stays: its own file is verified, in its own runtime, before it is put in its place."""

from __future__ import annotations

import re
from pathlib import Path

from mlexport import verify as verification
from mlexport.artifact import IDS
from mlexport.commit import building
from mlexport.errors import VerificationError
from mlexport.manifests import manifest_of, variants_of
from mlexport.pipeline.make import compiled_of, write_variants
from mlexport.places import needed_bytes
from mlexport.quantize.error import table_error
from mlexport.results import SlicePlan, failure
from mlexport.retained import RetentionReport
from mlexport.sweep.shared import ARTIFACTS
from mlexport.sweep.store import Store
from mlexport.vector_range import require_equal_codes


def keep_artifact(
    store: Store, plan: SlicePlan, reference: verification.Reference, retention: RetentionReport | None, work: Path
) -> str:
    """Write a cut as `slice` does and put it into the store; where it lies.

    Args:
        retention: of the first variant, as the manifest keeps it.

    Raises:
        VerificationError: its vectors differ from the reference.
    """
    variant, sub = plan.variants[0], plan.sub
    vocab = "" if plan.vocabulary is None else "-" + re.sub(r"[^\w.]+", "_", plan.vocabulary.asked)[:40]
    name = f"{ARTIFACTS}/{sub.spec.name}{vocab}-{plan.target}-{variant.precision}"
    own = store.folder()
    out = work / "kept" if own is None else own / name
    # What lies there is of a run that was killed before it could say so
    with building(out, needed_bytes=needed_bytes(plan), force=True) as build:
        files = write_variants(plan, build.folder, lambda _: None)
        reports = [
            verification.verify(
                reference,
                plan.target,
                takes=one.takes,
                precisions=one.precisions,
                folder=build.folder,
                model_file=file,
                bound=None if one.auto is None else one.auto.min_cosine,
            )
            for one, file in zip(plan.variants, files, strict=True)
        ]
        for one, report in zip(plan.variants, reports, strict=True):
            if report.status != "passed":
                raise VerificationError(f"verify failed for {plan.label} {one.name}: {failure(report)}")
        by_ids = [file for one, file in zip(plan.variants, files, strict=True) if one.takes == IDS]
        require_equal_codes(sub.stored, plan.target, text=sub.text, dim=sub.spec.dim, folder=build.folder, files=by_ids)
        errors = {one.precision: table_error(sub, plan.target, one.rows) for one in plan.variants}
        kept = {} if retention is None else {variant.precision: retention}
        compiled = compiled_of(plan, build.folder, files)
        build.commit(manifest_of(plan, variants_of(plan, files, reports, errors, kept, compiled=compiled, devices={})))
    if own is not None:
        return str(out)
    return store.put(out, name)
