"""Results as plain data for `--json`: dicts, lists, strings and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from mlexport.artifact import Artifact, VerifyReport
from mlexport.measured import Benchmark, Evaluation
from mlexport.model import Checkpoint
from mlexport.results import CheckpointFacts, SearchResult, Sizes, SlicePlan, SliceResult

Data = Mapping[str, object]


def artifact_data(artifact: Artifact, *, tensors: bool = False) -> Data:
    """The manifest with the artifact's folder; the rows of the plan only with `tensors`."""
    manifest = asdict(artifact.manifest)
    for variant, written in zip(manifest["variants"], artifact.manifest.variants, strict=True):
        variant["name"] = written.name
        if not tensors:
            del variant["plan"]
    return {"artifact": str(artifact.folder), **manifest}


def slice_data(result: SliceResult) -> Data:
    """A written artifact, with the seconds of each step."""
    return {**artifact_data(result.artifact), "seconds": {step.name: step.seconds for step in result.steps}}


def plan_data(plan: SlicePlan) -> Data:
    """A dry run: everything that is decided, each tensor with its exact bytes."""
    return {
        "out": str(plan.out),
        "model": plan.sub.checkpoint.name,
        "spec": plan.sub.spec.name,
        "target": plan.target.value,
        "before": sizes_data(plan.before),
        "untrained": list(plan.sub.untrained),
        "notes": list(plan.sub.notes),
        "vocabulary": None if plan.vocabulary is None else asdict(plan.vocabulary),
        "variants": [
            {
                "name": variant.name,
                "precision": variant.precision,
                "table_precision": variant.table_precision,
                "takes": variant.takes,
                "sizes": sizes_data(variant.sizes),
                "plan": [asdict(row) for row in variant.rows],
            }
            for variant in plan.variants
        ],
    }


def checkpoint_data(facts: CheckpointFacts) -> Data:
    """What `inspect` tells of a checkpoint."""
    checkpoint = facts.checkpoint
    return {
        "model": checkpoint.name,
        "folder": str(checkpoint.folder),
        "revision": checkpoint.revision,
        "config": {name: value for name, value in asdict(checkpoint.config).items() if name != "raw"},
        "trained": {
            "layers": list(checkpoint.trained_layers),
            "ranks": list(checkpoint.trained_ranks),
            "dims": list(checkpoint.trained_dims),
        },
        "stored_rank": stored_rank(checkpoint),
        "text": asdict(checkpoint.text),
        "sizes": sizes_data(facts.sizes),
        "cuts": [
            {"spec": c.spec, "target": c.target.value, "precision": c.precision, "sizes": sizes_data(c.sizes)}
            for c in facts.cuts
        ],
    }


def verification_data(folder: str, reports: Mapping[str, VerifyReport]) -> Data:
    """A verification, by variant; without a report only the files were compared."""
    found = {name: asdict(report) for name, report in reports.items()}
    return {"artifact": folder, "files": "match", "verification": found}


def search_data(result: SearchResult) -> Data:
    """Queries, and the documents found for each."""
    return {
        "corpus": str(result.corpus),
        "documents": result.documents,
        "query_prompt": result.prompt,
        "results": [
            {
                "query": found.query,
                "hits": [{"rank": hit.rank, "score": hit.score, **asdict(hit.document)} for hit in found.hits],
            }
            for found in result.found
        ],
    }


def benchmark_data(found: Benchmark) -> Data:
    """Scores of mteb's tasks."""
    return {"against": found.against, "scores": [asdict(score) for score in found.scores]}


def evaluation_data(found: Evaluation) -> Data:
    """An evaluation: every number as {value, low, high}, the ends of its 95% interval."""
    everything = asdict(found)
    everything["artifacts"] = [row | {"folder": str(row["folder"])} for row in everything["artifacts"]]
    del everything["steps"]
    # Several artifacts share the names of their steps; each row has its own seconds
    seconds: dict[str, float] = {}
    for step in found.steps:
        seconds[step.name] = seconds.get(step.name, 0.0) + step.seconds
    return {**everything, "seconds": seconds}


def sizes_data(sizes: Sizes) -> Data:
    """Parameters and bytes of table and body."""
    return asdict(sizes)


def stored_rank(checkpoint: Checkpoint) -> int | None:
    """The r of U [vocabulary, r]; None without factors."""
    return None if checkpoint.factors is None else checkpoint.factors[0].shape[1]
