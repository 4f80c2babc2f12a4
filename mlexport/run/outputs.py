"""What a run leaves beside artifacts and numbers: packs for apps, and the page."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from mlexport.artifact import MANIFEST, Artifact, sha256
from mlexport.errors import UsageError
from mlexport.latency import BenchResult, EstimateResult
from mlexport.pack import write_pack
from mlexport.pack.manifest import PACK
from mlexport.progress import Steps
from mlexport.recipe import Recipe
from mlexport.report import publish
from mlexport.report.described import describe
from mlexport.report.latency import DEFAULT_MIN_RETENTION
from mlexport.report.latency_build import build
from mlexport.run.latencies import ESTIMATED_FILE, MEASURED_FILE, demand_tokens
from mlexport.run.ledger import Ledger

PACKS, REPORT = "packs", "report.html"


def packs(
    recipe: Recipe, artifacts: Sequence[Artifact], folder: Path, ledger: Ledger, steps: Steps, *, force: bool
) -> list[tuple[str, Path]]:
    """A folder for each platform, of the first artifact that it runs.

    Raises:
        UsageError: a platform runs none of them.
        ExportError: a folder holds something else, or cannot be written.
    """
    found: list[tuple[str, Path]] = []
    for platform in recipe.outputs.pack:
        target = folder / PACKS / platform
        manifests = "".join(sha256(artifact.folder / MANIFEST) for artifact in artifacts)
        key = hashlib.sha256(f"{platform} {version('mlexport')} {manifests}".encode()).hexdigest()
        step = f"pack {platform}"
        if force or not ledger.has(step, key, target / PACK):
            ledger.begin(step, key, target / PACK)
            with steps.step(step):
                _pack(artifacts, platform, target)
        found.append((platform, target))
    return found


def _pack(artifacts: Sequence[Artifact], platform: str, target: Path) -> None:
    refusals: list[UsageError] = []
    for artifact in artifacts:
        try:
            # An older pack of this folder was made by this recipe's run
            write_pack(artifact.folder, platform, out=target, force=True)
        except UsageError as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]


def page(
    recipe: Recipe, folder: Path, measured: BenchResult | None, estimated: EstimateResult | None, steps: Steps
) -> Path | None:
    """report.html of the latencies, if the recipe wants it and there are any.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        ExportError: it cannot be written.
    """
    names = [name for name, result in ((MEASURED_FILE, measured), (ESTIMATED_FILE, estimated)) if result is not None]
    if not recipe.outputs.report or not names:
        return None
    path = folder / REPORT
    with steps.step("report"):
        read = [publish.read_named(folder / name) for name in names]
        found = build(
            read,
            described=describe(publish.profiles_of(read)),
            tool=f"mlexport {version('mlexport')}",
            created=datetime.now(UTC).astimezone().isoformat(timespec="minutes"),
            title=recipe.title,
            tokens=demand_tokens(recipe),
            min_retention=recipe.demands.min_retention or DEFAULT_MIN_RETENTION,
        )
        publish.write_report([(path, publish.form_of(path)(found))])
    return path
