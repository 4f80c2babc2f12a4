"""What a run would do: what has to be made, what lies there, and which demands the plan alone breaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from mlexport import pipeline
from mlexport.artifact import MANIFEST, is_artifact, read_artifact, sha256
from mlexport.demands import size_checks
from mlexport.errors import ArtifactError, ExportError, UsageError
from mlexport.hub import resolve
from mlexport.progress import Progress
from mlexport.ran import RunPlan, planned_files
from mlexport.recipe import Recipe
from mlexport.recipes import recipe_data, recipe_sha256, slice_request
from mlexport.request import BUILTIN_TEXTS
from mlexport.run.ledger import RUN_FILE, Ledger

# Parts of a recipe that an artifact depends on; what is measured of it and demanded comes later
_OF_AN_ARTIFACT = ("model", "cut", "vocabulary", "precision", "static", "text_in", "evaluation")


def plan_run(
    recipe: Recipe, name: str, *, out: Path | None = None, force: bool = False, progress: Progress | None = None
) -> RunPlan:
    """Plan every artifact of a recipe; nothing is written.

    Args:
        name: of the recipe, for its folder.
        out: folder of the run; None takes the recipe's own, or `out/NAME`.
        force: make anew what lies there.

    Raises:
        UsageError: the recipe has a grid; or as `mlexport.pipeline.plan_slice`.
        ExportError: `out` is an artifact, or holds something else.
    """
    if recipe.grid is not None:
        raise UsageError(
            f"{name} has a grid: `mlexport sweep {name}` makes its points. Leave the grid out with --set grid=null "
            "to make its own cut alone"
        )
    folder = out or recipe.outputs.folder or Path("out") / name
    _require_room(folder)
    ledger, inputs = Ledger(folder), _inputs(recipe)
    keys: dict[str, str] = {target: _key(recipe, target, inputs) for target in recipe.targets}
    there = [t for t in recipe.targets if not force and _made(ledger, t, keys[t], folder / t)]
    missing = [target for target in recipe.targets if target not in there]
    slices = []
    for targets in [missing] if missing else []:
        request = slice_request(recipe, folder if len(targets) > 1 else folder / targets[0])
        slices = pipeline.plan_slice(replace(request, targets=tuple(targets)), progress=progress)
    files = [file for plan in slices for file in planned_files(plan)]
    return RunPlan(
        name=name,
        recipe=recipe,
        sha256=recipe_sha256(recipe),
        out=folder,
        keys=keys,
        slices=tuple(slices),
        there=tuple(there),
        stale=tuple(target for target in missing if _holds_something(folder / target)),
        estimated=None,
        checks=tuple(check for check in size_checks(recipe.demands, files, planned=True) if not check.met),
    )


def require_fresh(plan: RunPlan) -> None:
    """Refuse to replace what another recipe made.

    Raises:
        ExportError: a target's folder holds something else.
    """
    for target in plan.stale:
        raise ExportError(
            f"{plan.out / target} was made from another recipe, other inputs or by another version: pass --force to "
            "make it anew, or choose another --out"
        )


def _require_room(folder: Path) -> None:
    if is_artifact(folder):
        raise ExportError(f"{folder} is an artifact: a run makes a folder with several things in it, so choose another")
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} exists and is a file: choose another --out")
    if _holds_something(folder) and not (folder / RUN_FILE).is_file():
        raise ExportError(f"{folder} exists and is not a folder of `mlexport run`: choose another --out")


def _holds_something(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _made(ledger: Ledger, target: str, key: str, folder: Path) -> bool:
    if not ledger.has(target, key, folder / MANIFEST):
        return False
    try:
        read_artifact(folder)
    except ArtifactError:
        return False
    return True


def _key(recipe: Recipe, target: str, inputs: object) -> str:
    chosen = {part: recipe_data(recipe)[part] for part in _OF_AN_ARTIFACT}
    content = {"recipe": chosen, "target": target, "inputs": inputs, "tool": version("mlexport")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _inputs(recipe: Recipe) -> object:
    """What the files that a recipe names hold: a checkpoint by revision, or by sizes and times; texts by sha256."""
    model = resolve(recipe.model)
    named = [recipe.precision.calibrate, *(keep.partition("corpus:")[2] for keep in recipe.vocabulary.keep)]
    data = recipe.evaluation.data
    texts = [Path(name) for name in named if name and name != BUILTIN_TEXTS]
    texts += [] if data is None else sorted(path for path in Path(data).rglob("*") if path.is_file())
    return {
        "model": model.revision or _stats(path for path in sorted(model.folder.iterdir()) if path.is_file()),
        "texts": [[str(path), sha256(path)] for path in texts if path.is_file()],
    }


def _stats(paths: Iterable[Path]) -> object:
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
