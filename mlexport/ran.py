"""What `mlexport run` plans and finds, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from mlexport.artifact import IDS, Artifact
from mlexport.latency import BenchResult, EstimateResult
from mlexport.recipe import Recipe
from mlexport.results import SlicePlan, Step
from mlexport.retained import Estimate

# What a demand is of
SIZE, LATENCY, RETENTION, COSINE = "max_size", "max_latency_ms", "min_retention", "min_cosine"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file of a run, made or planned.

    Attributes:
        name: such as "L8-D128 onnx int8".
        bytes: what a user ships; of a plan, of the tensors alone.
        table_bytes: of the token table among them.
        cosine: mean cosine to the reference; None where it was not verified.
        retained: share of the full model's nDCG@10 with its interval; None where it was not measured.
    """

    name: str
    target: str
    precision: str
    bytes: int
    table_bytes: int
    cosine: float | None
    retained: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLatency:
    """Latency of a model file on a profile, of one text of the recipe's demand.

    Attributes:
        ms: median where measured, the estimate where estimated; None where refused.
        low_ms, high_ms: of an estimate, its range; of a measurement, None.
        refused: why there is none.
    """

    file: str
    profile: str
    tokens: int
    measured: bool
    ms: float | None
    low_ms: float | None
    high_ms: float | None
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandCheck:
    """A demand against what was found of one model file.

    Attributes:
        demand: SIZE (bytes), LATENCY (ms), RETENTION or COSINE (shares).
        profile: of a latency.
        limit: what was asked.
        found: what there is; None where it could not be found.
        met: whether found is within the limit.
        note: how sure that is, or why nothing was found; empty where there is nothing to say.
        advice: what to change where it is not met.
    """

    demand: str
    file: str
    profile: str | None
    limit: float
    found: float | None
    met: bool
    note: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A run before anything is written.

    Attributes:
        name: of the recipe, its file's name without ending.
        sha256: of the recipe with every default and every `--set` in it.
        out: folder of the run.
        keys: step -> what its output depends on, hashed.
        slices: artifacts to be made, planned.
        there: targets whose artifact lies there already, made from the same recipe and inputs.
        stale: targets whose folder holds something else.
        estimated: latencies of the planned cuts; None without other profiles than local ones.
        checks: demands that the plan alone breaks.
    """

    name: str
    recipe: Recipe
    sha256: str
    out: Path
    keys: dict[str, str]
    slices: tuple[SlicePlan, ...]
    there: tuple[str, ...]
    stale: tuple[str, ...]
    estimated: EstimateResult | None
    checks: tuple[DemandCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run that came to its end.

    Attributes:
        artifacts: one a target, in the recipe's order; `reused` has those that were there.
        packs: folders by platform.
        report: the page; None where none was asked for.
    """

    plan: RunPlan
    artifacts: tuple[Artifact, ...]
    reused: tuple[str, ...]
    files: tuple[ModelFile, ...]
    measured: BenchResult | None
    estimated: EstimateResult | None
    latencies: tuple[FileLatency, ...]
    checks: tuple[DemandCheck, ...]
    packs: tuple[tuple[str, Path], ...]
    report: Path | None
    steps: tuple[Step, ...]

    @property
    def missed(self) -> tuple[DemandCheck, ...]:
        """Demands that are not met."""
        return tuple(check for check in self.checks if not check.met)


def planned_files(plan: SlicePlan) -> list[ModelFile]:
    """The model files of a planned artifact that take token ids."""
    return [
        ModelFile(
            name=f"{plan.sub.spec.name} {plan.target} {variant.name}",
            target=plan.target.value,
            precision=variant.precision,
            bytes=variant.sizes.bytes,
            table_bytes=variant.sizes.table_bytes,
            cosine=None,
            retained=None,
        )
        for variant in plan.variants
        if variant.takes == IDS
    ]


def made_files(artifact: Artifact) -> list[ModelFile]:
    """The model files of an artifact that take token ids."""
    manifest = artifact.manifest
    return [
        ModelFile(
            name=f"{manifest.spec} {manifest.target} {variant.name}",
            target=manifest.target,
            precision=variant.precision,
            bytes=manifest.shipped_bytes(variant),
            table_bytes=variant.sizes["table_bytes"],
            cosine=variant.verification.mean_cosine,
            retained=None if variant.retention is None else variant.retention.retained_ndcg,
        )
        for variant in manifest.variants
        if variant.takes == IDS
    ]


def run_data(result: RunResult) -> Mapping[str, object]:
    """A run as plain data: what run.json and `--json` hold."""
    plan = result.plan
    return {
        "tool": f"mlexport {version('mlexport')}",
        "name": plan.name,
        "recipe": plan.recipe.model_dump(mode="json"),
        "recipe_sha256": plan.sha256,
        "out": str(plan.out),
        "artifacts": {artifact.manifest.target: str(artifact.folder) for artifact in result.artifacts},
        "reused": list(result.reused),
        "files": [asdict(file) for file in result.files],
        "latencies": [asdict(latency) for latency in result.latencies],
        "demands": [asdict(check) for check in result.checks],
        "met": not result.missed,
        "packs": {platform: str(folder) for platform, folder in result.packs},
        "report": None if result.report is None else str(result.report),
        "seconds": {step.name: step.seconds for step in result.steps},
    }


def plan_data(plan: RunPlan) -> Mapping[str, object]:
    """A dry run as plain data, the artifacts' own plans aside."""
    return {
        "name": plan.name,
        "recipe": plan.recipe.model_dump(mode="json"),
        "recipe_sha256": plan.sha256,
        "out": str(plan.out),
        "there": list(plan.there),
        "stale": list(plan.stale),
        "files": [asdict(file) for one in plan.slices for file in planned_files(one)],
        "estimated": None if plan.estimated is None else asdict(plan.estimated),
        "broken_demands": [asdict(check) for check in plan.checks],
    }
