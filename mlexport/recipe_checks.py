"""What is wrong with a recipe beyond its types: parts that do not go together, names that nobody knows.

The same rules as those of `mlexport.request` for options, each said with the recipe's key, and all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mlexport.errors import DocumentError, UsageError
from mlexport.mistakes import Place, Problem
from mlexport.npu import CHIPS
from mlexport.profiles import load_profile
from mlexport.recipe import Recipe
from mlexport.request import BUILTIN_TEXTS
from mlexport.scripts import parse_scripts
from mlexport.spec import AUTO, FLOAT_PRECISIONS, Target, parse_shape, parse_size, resolve_precision

# Targets that are graphs: their shapes can be fixed, and a tokenizer can stand in front
_GRAPHS = ("onnx", "openvino")
_KNOWN = tuple(target.value for target in Target)
# Platform -> targets that its pack runs; onnx+text: with the tokenizer inside. mlexport.pack has the same as kits
PACKED = {
    "android": ("onnx+text", "gguf"),
    "ios": ("onnx+text", "gguf"),
    "node": ("onnx",),
    "python": ("onnx", "openvino", "gguf"),
    "web": ("onnx",),
}
# Latency is demanded of texts of this many tokens
DEMAND_TOKENS = 128


def check_recipe(recipe: Recipe) -> Iterator[Problem]:
    """Every problem, each with its place."""
    for check in _CHECKS:
        yield from check(recipe)


def _targets(recipe: Recipe) -> Iterator[Problem]:
    if Target.HF in recipe.targets and len(recipe.precision.names) > 1:
        yield ("precision", "names"), "'precision.names': target hf holds one precision: make a recipe for each"
    for place, target in enumerate(recipe.targets):
        if target in recipe.targets[:place]:
            yield ("targets", place), f"'targets[{place}]': {target} is there twice"


def _precisions(recipe: Recipe) -> Iterator[Problem]:
    chosen = recipe.precision
    for place, name in enumerate(chosen.names):
        yield from _precision(recipe.targets, name, ("precision", "names", place), f"precision.names[{place}]")
    if chosen.table is not None:
        if chosen.table.lower() == AUTO:
            yield ("precision", "table"), "'precision.table': auto is for precision.names, and chooses the table's too"
        else:
            yield from _precision(recipe.targets, chosen.table, ("precision", "table"), "precision.table")
    for key, text in (("precision", chosen.max_size), ("demands", recipe.demands.max_size)):
        if text is not None:
            yield from _tried(partial(parse_size, text), (key, "max_size"), f"{key}.max_size")


def _precision(targets: Sequence[str], name: str, place: Place, key: str) -> Iterator[Problem]:
    for target in targets:
        if target in _KNOWN:
            yield from _tried(partial(resolve_precision, Target(target), name), place, key)


def _auto(recipe: Recipe) -> Iterator[Problem]:
    chosen = recipe.precision
    auto = AUTO in [name.lower() for name in chosen.names]
    bounds = [key for key in ("min_cosine", "max_size") if getattr(chosen, key) is not None]
    if auto and not bounds:
        yield (
            ("precision", "names"),
            "'precision.names': auto needs a bound: add precision.min_cosine: 0.99 or precision.max_size: 60MB",
        )
    if auto and chosen.table is not None:
        yield ("precision", "table"), "'precision.table': precision auto chooses the table's too: leave it out"
    for key in bounds if not auto else ():
        yield (
            ("precision", key),
            f"'precision.{key}' is for precision auto: name that in precision.names, or set demands.{key} instead",
        )


def _calibration(recipe: Recipe) -> Iterator[Problem]:
    chosen, place = recipe.precision, ("precision", "calibrate")
    auto = AUTO in [name.lower() for name in chosen.names]
    if Target.HF in recipe.targets and (auto or chosen.calibrate is not None):
        yield place, "'precision.calibrate' is for targets that quantise, not for hf: leave one of them out"
        return
    if chosen.calibrate is None:
        return
    if set(map(str.lower, chosen.names)) <= FLOAT_PRECISIONS:
        names = ", ".join(chosen.names)
        yield place, f"'precision.calibrate' has nothing to round in {names}: choose int8, int4 or auto"
    if chosen.calibrate != BUILTIN_TEXTS and not Path(chosen.calibrate).is_file():
        yield place, f"'precision.calibrate': no file {chosen.calibrate}: expected one, or builtin"


def _vocabulary(recipe: Recipe) -> Iterator[Problem]:
    chosen = recipe.vocabulary
    for number, value in enumerate(chosen.keep):
        yield from _tried(partial(require_tokens, value), ("vocabulary", "keep", number), f"vocabulary.keep[{number}]")
    if chosen.coverage is not None and not any(value.startswith("corpus:") for value in chosen.keep):
        yield ("vocabulary", "coverage"), "'vocabulary.coverage' is for keep: corpus:FILE: name one, or leave it out"


def require_tokens(value: str) -> None:
    """Refuse what is no choice of tokens; corpora are looked for, not read.

    Raises:
        UsageError: neither a number, nor scripts, nor a file that is there.
    """
    if value.startswith("scripts:"):
        try:
            parse_scripts(value.removeprefix("scripts:"))
        except UsageError as error:
            raise UsageError(str(error).removeprefix("--vocab ")) from None
    elif value.startswith("corpus:"):
        if not Path(value.removeprefix("corpus:")).is_file():
            raise UsageError(f"no file {value.removeprefix('corpus:')}: expected texts, one a line, or .jsonl")
    elif not re.fullmatch(r"[0-9]{1,9}", value):
        raise UsageError(f"{value!r} is none of 32000 (a number of tokens), scripts:Latn,Cyrl, corpus:FILE")


def _shapes(recipe: Recipe) -> Iterator[Problem]:
    others = ", ".join(target for target in recipe.targets if target not in _GRAPHS)
    if recipe.text_in and others:
        yield ("text_in",), f"'text_in' is for targets onnx and openvino, not for {others}: leave one of them out"
    if recipe.static is None:
        if "qnn" in recipe.targets and len(recipe.targets) > 1:
            yield ("targets",), "'targets': qnn has fixed shapes: set static: 1x128 for all, or make qnn alone"
        return
    others = ", ".join(target for target in recipe.targets if target not in (*_GRAPHS, "qnn"))
    if others:
        yield ("static",), f"'static' is for targets onnx, openvino and qnn, not for {others}: leave one of them out"
    if recipe.text_in:
        yield ("static",), "'static' does not go with text_in: leave one of them out"
    try:
        batch, tokens = parse_shape(recipe.static)
    except UsageError as error:
        yield ("static",), f"'static': {error}"
        return
    for name, values, wanted in (("tokens", recipe.measure.tokens, tokens), ("batch", recipe.measure.batch, batch)):
        if values != (wanted,):
            written = name in recipe.measure.model_fields_set
            yield (
                ("measure", name) if written else ("static",),
                f"'measure.{name}': a graph of fixed shapes {recipe.static} runs {wanted} alone, got "
                f"{', '.join(map(str, values))}: set measure.{name}: [{wanted}]",
            )


def _chip(recipe: Recipe) -> Iterator[Problem]:
    if "qnn" not in recipe.targets:
        if recipe.soc is not None:
            yield ("soc",), "'soc' is for target qnn: add that to targets, or leave soc out"
        return
    if recipe.soc is not None and recipe.soc.lower() not in CHIPS:
        known = ", ".join(f"{chip.soc} ({chip.name})" for chip in CHIPS.values())
        yield ("soc",), f"'soc': unknown chip '{recipe.soc}': choose from {known}"
    if recipe.precision.vectors == "int8":
        yield (
            ("precision", "vectors"),
            "'precision.vectors': int8 needs a range from 1,000 documents, hours in Qualcomm's simulator: f32, binary",
        )


def _profiles(recipe: Recipe) -> Iterator[Problem]:
    for number, name in enumerate(recipe.profiles):
        yield from _profile(name, recipe, ("profiles", number), f"profiles[{number}]")


def _profile(name: str, recipe: Recipe, place: Place, key: str) -> Iterator[Problem]:
    try:
        unit = load_profile(name).unit
    except DocumentError as error:
        yield from ((place, f"'{key}': {problem}") for problem in error.problems)
        return
    except UsageError as error:
        yield place, f"'{key}': {error}"
        return
    runs = sorted({target for runtime in unit.runtimes for target in runtime.targets})
    if not runs:
        yield place, f"'{key}': no runtime of profile {name} runs what mlexport makes"
    elif not set(runs) & set(_all_targets(recipe)):
        made = ", ".join(_all_targets(recipe))
        yield place, f"'{key}': profile {name} runs {', '.join(runs)}, this recipe makes {made}: add one to targets"
    elif unit.shapes == "static" and recipe.static is None:
        yield place, f"'{key}': profile {name} takes fixed shapes alone: set static: 1x128"


def _all_targets(recipe: Recipe) -> Sequence[str]:
    return recipe.targets if recipe.grid is None else tuple(dict.fromkeys((*recipe.targets, *recipe.grid.target)))


def _demands(recipe: Recipe) -> Iterator[Problem]:
    wanted, profiles = recipe.demands, recipe.profiles or (recipe.grid is not None and recipe.grid.profile)
    if wanted.max_latency_ms is not None:
        place = ("demands", "max_latency_ms")
        if not profiles:
            yield place, "'demands.max_latency_ms' needs a device: name one or more in profiles"
        if DEMAND_TOKENS not in recipe.measure.tokens and recipe.static is None:
            yield place, f"'demands.max_latency_ms' is of {DEMAND_TOKENS} tokens: add {DEMAND_TOKENS} to measure.tokens"
    if wanted.min_retention is not None and not recipe.evaluation.retention:
        yield ("demands", "min_retention"), "'demands.min_retention' has to be measured: set evaluation.retention: true"
    for key, value in (("data", recipe.evaluation.data), ("sample", recipe.evaluation.sample)):
        if value is not None and not recipe.evaluation.retention:
            yield ("evaluation", key), f"'evaluation.{key}' is for retention: set evaluation.retention: true"
    data = recipe.evaluation.data
    if data is not None and not Path(data).is_dir():
        yield ("evaluation", "data"), f"'evaluation.data': no folder {data}"


def _packs(recipe: Recipe) -> Iterator[Problem]:
    made = {*recipe.targets, *(f"{target}+text" for target in recipe.targets if recipe.text_in)}
    for number, platform in enumerate(recipe.outputs.pack):
        if not made & set(PACKED[platform]):
            runs = " or ".join(one.replace("+text", " with text_in: true") for one in PACKED[platform])
            yield (
                ("outputs", "pack", number),
                f"'outputs.pack[{number}]': {platform} runs {runs}, this recipe makes {', '.join(recipe.targets)}",
            )


def _grid(recipe: Recipe) -> Iterator[Problem]:
    grid = recipe.grid
    if grid is None:
        return
    if not any(getattr(grid, axis) for axis in type(grid).model_fields):
        yield ("grid",), "'grid' has no axis: add one, such as layers: [2, 4, 8], or leave the grid out"
    known = [target for target in _all_targets(recipe) if target in _KNOWN]
    for number, target in enumerate(grid.target):
        yield from _tried(partial(_require_target, target), ("grid", "target", number), f"grid.target[{number}]")
    for number, name in enumerate(grid.precision):
        fits = [target for target in known if _resolves(Target(target), name)]
        if not fits:
            yield (
                ("grid", "precision", number),
                f"'grid.precision[{number}]': none of {', '.join(known)} has a precision '{name}'",
            )
    for number, asked in enumerate(grid.vocab):
        for part in (asked or "").split():
            yield from _tried(partial(require_tokens, part), ("grid", "vocab", number), f"grid.vocab[{number}]")
    for number, name in enumerate(grid.profile):
        yield from _profile(name, recipe, ("grid", "profile", number), f"grid.profile[{number}]")


def _require_target(name: str) -> None:
    if name not in (*Target, "qnn"):
        raise UsageError(f"unknown target '{name}': choose from {', '.join(Target)}")


def _resolves(target: Target, name: str) -> bool:
    try:
        resolve_precision(target, name)
    except UsageError:
        return False
    return True


def _tried(call: Callable[[], object], place: Place, key: str) -> Iterator[Problem]:
    try:
        call()
    except UsageError as error:
        yield place, f"'{key}': {error}"


_CHECKS: tuple[Callable[[Recipe], Iterator[Problem]], ...] = (
    _targets,
    _precisions,
    _auto,
    _calibration,
    _vocabulary,
    _shapes,
    _chip,
    _profiles,
    _demands,
    _packs,
    _grid,
)
