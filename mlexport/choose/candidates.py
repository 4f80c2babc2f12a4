"""The cuts that could be chosen, with exact sizes of their tensors and estimated latencies; no tensor is read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

from mlexport.checkpoint import open_checkpoint
from mlexport.choose.request import ChooseRequest
from mlexport.chosen import Option
from mlexport.errors import UsageError
from mlexport.evaluate.beir import BUILTIN
from mlexport.latency import Estimated
from mlexport.model import Checkpoint
from mlexport.pipeline.estimate import estimate_plans
from mlexport.pipeline.plan import plan_cut
from mlexport.profile import Profile
from mlexport.profiles import load_profile, require_estimable
from mlexport.progress import Steps
from mlexport.recipe import Recipe
from mlexport.recipe_checks import DEMAND_TOKENS
from mlexport.spec import Target
from mlexport.sweep.plan import PlannedCut, SweepPlan, base_request, plan_sweep, request_for
from mlexport.sweep.tasks import Cut
from mlexport.textfacts import TOKENIZER
from mlexport.vocabulary import Chosen, choose, parse_vocabulary

_PRECISIONS = ("f32", "f16", "int8", "int4")
# Shapes of an accelerator's graph
_STATIC = f"1x{DEMAND_TOKENS}"
_GRAPHS = (Target.ONNX, Target.OPENVINO, Target.QNN)
# Vectors of fewer numbers cost quality and save nothing of the model: the widest few are enough
_DIMS = 4
# Language -> ISO 15924, of those whose texts are written in one script or a joined one; others are Latin
_SCRIPTS = {"ja": "Jpan", "ko": "Kore", "zh": "Hani", "ru": "Cyrl", "uk": "Cyrl", "bg": "Cyrl", "sr": "Cyrl,Latn",
            "el": "Grek", "he": "Hebr", "ar": "Arab", "fa": "Arab", "ur": "Arab", "hi": "Deva", "mr": "Deva",
            "bn": "Beng", "ta": "Taml", "te": "Telu", "th": "Thai", "ka": "Geor", "hy": "Armn"}  # fmt: skip
_LATIN = frozenset(
    ("en", "de", "fr", "it", "es", "pt", "da", "sv", "nb", "no", "nl", "fi", "pl", "cs", "sk", "sl", "hr", "hu", "ro",
     "tr", "vi", "id", "et", "lv", "lt", "is", "ga", "ca", "eu", "gl")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Every cut of the grid that can be made.

    Attributes:
        sweep: the grid as a sweep's plan; `cuts` are its possible ones by option.
    """

    profile: Profile
    sweep: SweepPlan
    options: tuple[Option, ...]
    cuts: Mapping[Option, PlannedCut]


def targets_for(profile: Profile, asked: Sequence[str]) -> tuple[str, ...]:
    """Targets that the profile's runtimes take, the one that Qualcomm's simulator would run last and alone.

    Raises:
        UsageError: none, or one that was asked for and is not among them.
    """
    runs: tuple[str, ...] = tuple(dict.fromkeys(target for one in profile.unit.runtimes for target in one.targets))
    if profile.unit.shapes == "static":
        runs = tuple(target for target in runs if target in _GRAPHS)
    unknown = [target for target in asked if target not in runs]
    if unknown or not runs:
        what = f"target {unknown[0]} does not run on" if unknown else "no target runs on"
        raise UsageError(f"{what} profile {profile.name} (it runs {', '.join(runs) or 'none'}): choose another")
    return tuple(asked) or (tuple(target for target in runs if target != Target.QNN) or runs)


def grid_recipe(request: ChooseRequest, targets: Sequence[str], languages: Sequence[str]) -> Recipe:
    """The grid of all trained cuts, as a recipe that sweeps take.

    Raises:
        CheckpointError: the model cannot be opened.
    """
    model, name = request.model, request.profile
    checkpoint = open_checkpoint(model)
    scripts = scripts_of(languages)
    static = load_profile(name).unit.shapes == "static"
    return Recipe.model_validate(
        {
            "title": f"Cuts of {model} for {name}",
            "whom": "mlexport choose",
            "model": model,
            "targets": list(targets),
            "static": _STATIC if static else None,
            "evaluation": {"verify": "sample", "retention": True, "data": request.data, "sample": request.sample},
            "measure": {"tokens": [DEMAND_TOKENS]},
            "grid": {
                "layers": list(checkpoint.trained_layers or (checkpoint.config.layers,)),
                "rank": [None, *checkpoint.trained_ranks],
                "vocab": [None, *([f"scripts:{scripts}"] if scripts else [])],
                "dim": list((checkpoint.trained_dims or (checkpoint.config.hidden,))[-_DIMS:]),
                "precision": list(_PRECISIONS) if Target.QNN not in targets else ["f16", "w8a16"],
                "target": list(targets),
                "profile": [name],
            },
        }
    )


def scripts_of(languages: Sequence[str]) -> str:
    """Scripts that all of the languages are written in, "Cyrl,Latn"; empty where one's is not known."""
    bases = [language.split("_")[0] for language in languages]
    if any(base not in _SCRIPTS and base not in _LATIN for base in bases):
        return ""
    return ",".join(sorted({code for base in bases for code in _SCRIPTS.get(base, "Latn").split(",")}))


def plan_candidates(request: ChooseRequest, languages: Sequence[str]) -> Candidates:
    """Every trained cut in every precision and target that the profile runs.

    Raises:
        UsageError: no such profile, or nothing runs there.
        CheckpointError: the model cannot be opened.
    """
    profile = load_profile(request.profile)
    if not profile.unit.times:
        require_estimable(profile)
    recipe = grid_recipe(request, targets_for(profile, request.targets), languages)
    sweep = plan_sweep(recipe)
    cuts = _options(sweep, profile)
    return Candidates(profile=profile, sweep=sweep, options=tuple(cuts), cuts=cuts)


def _options(sweep: SweepPlan, profile: Profile) -> dict[Option, PlannedCut]:
    cuts: dict[Option, PlannedCut] = {}
    for body in sweep.bodies:
        timed = estimate_cut(sweep.recipe, sweep.checkpoint, body[0].cut, profile)
        for one in body:
            cuts[option_of(one.cut, one.spec or "", planned_bytes(sweep.checkpoint, one), timed)] = one
    return cuts


def planned_bytes(checkpoint: Checkpoint, one: PlannedCut) -> int:
    """Tensors, exact, and the tokenizer, by the share of tokens that stay."""
    tokenizer = (checkpoint.folder / TOKENIZER).stat().st_size
    share = 1.0 if one.vocab_tokens is None else one.vocab_tokens / checkpoint.config.vocabulary
    return (one.bytes or 0) + int(tokenizer * share)


def option_of(cut: Cut, spec: str, size: int, timed: Estimated | None) -> Option:
    """A cut that was not measured."""
    return Option(
        spec=spec,
        **{field.name: getattr(cut, field.name) for field in fields(Cut)},
        bytes=size,
        ms=None if timed is None else timed.ms,
        low_ms=None if timed is None else timed.low_ms,
        high_ms=None if timed is None else timed.high_ms,
        refused=None if timed is None else timed.refused,
    )


def estimate_cut(recipe: Recipe, checkpoint: Checkpoint, cut: Cut, profile: Profile) -> Estimated | None:
    """The latency of one text of 128 tokens, as the cut would be made."""
    request = request_for(base_request(recipe), cut)
    chosen = _chosen(checkpoint.folder.as_posix(), request.model, tuple(request.vocab), request.vocab_coverage)
    plans = plan_cut(checkpoint, chosen, request, texts=None, steps=Steps(None))
    return next(iter(estimate_plans(plans, [profile], tokens=[DEMAND_TOKENS], batches=[1]).estimates), None)


@cache
def _chosen(folder: str, model: str, vocab: tuple[str, ...], coverage: float | None) -> Chosen | None:
    wanted = parse_vocabulary(vocab, coverage)
    return None if wanted is None else choose(open_checkpoint(model), wanted)


def matching(languages: Sequence[str], there: Sequence[str], data: str = BUILTIN) -> tuple[str, ...]:
    """Languages of the evaluation set that were asked for: en, de, zh (its zh_CN too).

    Raises:
        UsageError: one that the set does not have.
    """
    found: list[str] = []
    for language in languages:
        own = [one for one in there if language in (one, one.split("_")[0])]
        if not own:
            near = difflib.get_close_matches(language, there, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"--languages {language}: the evaluation set '{data}' has no queries in it. {hint}"
                f"It has {', '.join(there) or 'none that is named'}"
            )
        found += own
    return tuple(dict.fromkeys(found))
