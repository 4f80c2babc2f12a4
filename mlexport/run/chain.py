"""The steps of a run, one after the other: artifacts with what they keep, latencies, demands, packs, the page."""

from __future__ import annotations

from mlexport import pipeline
from mlexport.artifact import MANIFEST, Artifact, read_artifact
from mlexport.demands import check_demands
from mlexport.evaluate.beir import BUILTIN
from mlexport.progress import Progress, Steps
from mlexport.ran import RunPlan, RunResult, made_files, run_data
from mlexport.recipes import recipe_yaml
from mlexport.run import latencies, outputs
from mlexport.run.ledger import Ledger, write_whole
from mlexport.run.planning import require_fresh

RECIPE_FILE = "recipe.yaml"


def run_recipe(plan: RunPlan, *, force: bool = False, progress: Progress | None = None) -> RunResult:
    """Do what `plan_run` planned; an unmet demand is in the result, and everything is kept.

    Args:
        force: replace what another recipe made.

    Raises:
        ExportError: a target's folder holds what another recipe made, or cannot be written.
        Others as `mlexport.pipeline.slice_model`.
    """
    if not force:
        require_fresh(plan)
    ledger, steps = Ledger(plan.out), Steps(progress)
    made = _make(plan, ledger, steps, force=force)
    artifacts = [made.get(target) or read_artifact(plan.out / target) for target in plan.recipe.targets]
    files = [file for artifact in artifacts for file in made_files(artifact)]
    measured = latencies.measure(plan.recipe, artifacts, plan.out, ledger, steps, force=force)
    estimated = latencies.estimate(plan.recipe, artifacts, plan.out, steps)
    known = {file.name for file in files}
    found = [one for one in latencies.file_latencies(plan.recipe, measured, estimated) if one.file in known]
    packs = outputs.packs(plan.recipe, artifacts, plan.out, ledger, steps, force=force)
    page = outputs.page(plan.recipe, plan.out, measured, estimated, steps)
    result = RunResult(
        plan=plan,
        artifacts=tuple(artifacts),
        reused=plan.there,
        files=tuple(files),
        measured=measured,
        estimated=estimated,
        latencies=tuple(found),
        checks=check_demands(plan.recipe.demands, files, found),
        packs=tuple(packs),
        report=page,
        steps=tuple(steps.done),
    )
    write_whole(plan.out / RECIPE_FILE, recipe_yaml(plan.recipe, f"mlexport run {RECIPE_FILE}"))
    ledger.write(dict(run_data(result)))
    return result


def _make(plan: RunPlan, ledger: Ledger, steps: Steps, *, force: bool) -> dict[str, Artifact]:
    """The artifacts that are missing, by target; one checkpoint and one reference serve them all."""
    if not plan.slices:
        return {}
    for one in plan.slices:
        ledger.begin(one.target.value, plan.keys[one.target.value], one.out / MANIFEST)
    evaluation = plan.recipe.evaluation
    with steps.step("slice"):
        results = pipeline.write_slices(
            plan.slices,
            verify=evaluation.verify,
            force=force,
            retention=evaluation.retention,
            data=evaluation.data or BUILTIN,
            sample=evaluation.sample,
            progress=steps.progress,
        )
    return {result.artifact.manifest.target: result.artifact for result in results}
