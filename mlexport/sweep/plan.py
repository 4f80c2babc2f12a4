"""A recipe's grid as cuts, and which of them are made together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from mlexport.artifact import TensorPlan, sha256
from mlexport.checkpoint import open_checkpoint
from mlexport.errors import MlexportError, UsageError
from mlexport.kept import KeptTokens
from mlexport.model import Checkpoint, ModelConfig
from mlexport.pipeline.plan import cut_of
from mlexport.profiles import load_profile
from mlexport.quantize.plan import plan_tensors
from mlexport.recipe import Recipe
from mlexport.recipes import slice_request
from mlexport.request import SliceRequest, check
from mlexport.results import plan_sizes
from mlexport.spec import AUTO, Target, parse_target, resolve_precision
from mlexport.sweep.tasks import BODY_AXES, Cut
from mlexport.vocabulary import CORPUS, choose, parse_vocabulary

# What of a recipe a point's numbers do not depend on, or has as an axis
_NOT_IDENTITY = ("title", "whom", "outputs", "demands", "profiles", "measure", "grid", "targets")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCut:
    """A cut before it is made.

    Attributes:
        spec: its name; None where it was refused.
        bytes: of all tensors, exact; None where it was refused, or with precision auto.
        refused: why it cannot be made.
    """

    cut: Cut
    spec: str | None
    vocab_tokens: int | None
    bytes: int | None
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """A recipe's grid, taken apart.

    Attributes:
        cuts: every combination, in the order of the grid.
        profiles: device profiles, (None,) where the recipe names none.
        identity: of all that a cut's numbers depend on beside its axes.
        checkpoint: opened.
    """

    recipe: Recipe
    checkpoint: Checkpoint
    cuts: tuple[PlannedCut, ...]
    profiles: tuple[str | None, ...]
    identity: str

    @property
    def possible(self) -> tuple[PlannedCut, ...]:
        """Cuts that can be made."""
        return tuple(one for one in self.cuts if one.refused is None)

    @property
    def bodies(self) -> tuple[tuple[PlannedCut, ...], ...]:
        """Cuts that can be made, those that share a body together, the widest first; the costliest bodies first."""
        return bodies_of(self.possible)


def bodies_of(cuts: Sequence[PlannedCut]) -> tuple[tuple[PlannedCut, ...], ...]:
    """Cuts that differ in dim alone together, the widest first; those with most layers first."""
    found: dict[tuple[object, ...], list[PlannedCut]] = {}
    for one in cuts:
        key = tuple(getattr(one.cut, axis) for axis in BODY_AXES)
        # A mixture is chosen by the vectors of its own dim
        own = (one.cut.dim,) if one.cut.precision == AUTO else ()
        found.setdefault((*key, *own), []).append(one)
    groups = [tuple(sorted(group, key=lambda one: -one.cut.dim)) for group in found.values()]
    return tuple(sorted(groups, key=lambda group: -group[0].cut.layers))


def plan_sweep(recipe: Recipe) -> SweepPlan:
    """What a sweep would make; nothing is written, no tensor is read.

    Raises:
        UsageError: the recipe has no grid, or none of its combinations can be made.
        CheckpointError: the checkpoint cannot be opened.
    """
    if recipe.grid is None:
        raise UsageError("this recipe has no grid: add one, or --set grid.layers=4,8 --set grid.dim=64,128")
    checkpoint = open_checkpoint(recipe.model)
    profiles: tuple[str | None, ...] = recipe.grid.profile or recipe.profiles or (None,)
    for name in filter(None, profiles):
        load_profile(name)
    kept: dict[str | None, KeptTokens | None] = {}
    asked = _combinations(recipe, checkpoint.config)
    # Two words for one precision are one point
    cuts = tuple({one.cut: one for one in (_planned(recipe, checkpoint, cut, kept) for cut in asked)}.values())
    plan = SweepPlan(
        recipe=recipe, checkpoint=checkpoint, cuts=cuts, profiles=profiles, identity=_identity(recipe, checkpoint)
    )
    if not plan.possible:
        raise UsageError(f"no point of the grid can be made; the first: {cuts[0].refused}")
    return plan


def request_for(base: SliceRequest, cut: Cut) -> SliceRequest:
    """What `slice` is asked for, to make a cut."""
    vocab = () if cut.vocab is None else tuple(cut.vocab.split())
    return replace(
        base,
        layers=cut.layers,
        rank=cut.rank,
        dim=cut.dim,
        vocab=vocab,
        # Of a grid's vocabularies, some may have no corpus
        vocab_coverage=base.vocab_coverage if any(part.startswith(CORPUS) for part in vocab) else None,
        targets=(cut.target,),
        precisions=(cut.precision,),
    )


def base_request(recipe: Recipe) -> SliceRequest:
    """What is the same for every cut; its axes mean nothing."""
    return replace(slice_request(recipe, Path()), out=None)


def _combinations(recipe: Recipe, config: ModelConfig) -> Iterator[Cut]:
    """Every point of the grid, with precisions as the recipe names them."""
    grid, own = recipe.grid, recipe.cut
    assert grid is not None
    axes = (
        grid.layers or (own.layers or config.layers,),
        grid.rank or (own.rank,),
        grid.vocab or (" ".join(recipe.vocabulary.keep) or None,),
        grid.dim or (own.dim or config.hidden,),
        grid.precision or recipe.precision.names,
        grid.target or recipe.targets,
    )
    for layers, rank, vocab, dim, precision, target in product(*axes):
        yield Cut(layers=layers, rank=rank, vocab=vocab, dim=dim, precision=precision, target=target)


def _planned(
    recipe: Recipe, checkpoint: Checkpoint, asked: Cut, kept: dict[str | None, KeptTokens | None]
) -> PlannedCut:
    """One point; `kept` has the tokens of vocabularies that were chosen before."""
    # An unknown word is a mistake of the recipe's, not a point that cannot be
    target = parse_target(asked.target)
    if not any(_resolves(one, asked.precision) for one in Target):
        resolve_precision(target, asked.precision)
    cut = asked
    try:
        cut = replace(asked, precision=resolve_precision(target, asked.precision))
        request = request_for(base_request(recipe), cut)
        checked = check(request)
        if cut.vocab not in kept:
            wanted = parse_vocabulary(request.vocab, request.vocab_coverage)
            kept[cut.vocab] = None if wanted is None else choose(checkpoint, wanted).kept
        sub = cut_of(checkpoint, request, checked, kept[cut.vocab])
        rows: Sequence[TensorPlan] = ()
        if cut.precision != AUTO:
            weighted = checked.calibrate is not None
            rows = plan_tensors(sub, target, cut.precision, checked.tables[target], weighted=weighted)
    except MlexportError as error:
        return PlannedCut(cut=cut, spec=None, vocab_tokens=None, bytes=None, refused=str(error))
    return PlannedCut(
        cut=cut,
        spec=sub.spec.name,
        vocab_tokens=sub.spec.vocab,
        bytes=plan_sizes(sub.spec, rows).bytes if rows else None,
        refused=None,
    )


def _resolves(target: Target, precision: str) -> bool:
    try:
        resolve_precision(target, precision)
    except UsageError:
        return False
    return True


def _identity(recipe: Recipe, checkpoint: Checkpoint) -> str:
    """JSON of what a cut's numbers depend on beside its axes: the recipe's settings, the checkpoint's files."""
    settings: dict[str, object] = recipe.model_dump(mode="json")
    for key in _NOT_IDENTITY:
        settings.pop(key, None)
    settings["allow_untrained"] = recipe.cut.allow_untrained
    settings.pop("cut")
    settings["precision"] = recipe.precision.model_dump(mode="json", exclude={"names"})
    settings["vocabulary"] = recipe.vocabulary.coverage
    files = sorted(path for path in checkpoint.folder.iterdir() if path.suffix in (".json", ".safetensors", ".pth"))
    return json.dumps({"settings": settings, "checkpoint": _fingerprints(files)}, sort_keys=True)


def _fingerprints(files: Sequence[Path]) -> Mapping[str, str]:
    return {path.name: sha256(path)[:16] for path in files}


def sha256_of(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
