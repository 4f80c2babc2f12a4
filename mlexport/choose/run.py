"""From limits to a choice: sweeps are read, the few cuts worth it are measured, a recipe is written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from mlexport import chosen as choice
from mlexport.choose.candidates import Candidates, matching, plan_candidates
from mlexport.choose.known import Known, read_known, sweeps_under
from mlexport.choose.request import ChooseRequest
from mlexport.choose.search import axes, next_bodies
from mlexport.choose.write import chosen_recipe, write_recipe
from mlexport.chosen import Chosen, Limits, Option
from mlexport.evaluate.beir import BUILTIN, read_retrieval_set
from mlexport.ran import LATENCY, RETENTION, SIZE
from mlexport.spec import show_ms
from mlexport.sweep import SweepOptions, run_sweep
from mlexport.sweep.run import SweepProgress
from mlexport.sweep.tasks import Cut
from mlexport.swept import ERROR, FAILED, Point

MEASURE = 4
# Bodies of one call share a reference, and the second is chosen before the first is known
_BATCH = 2
_RUNNERS_UP = 8


def choose(request: ChooseRequest, progress: SweepProgress | None = None) -> Chosen:
    """The cut that an app should take; its recipe is written unless nothing meets the limits, or in a dry run.

    Raises:
        UsageError: words that make no sense, or a sweep that is of another model.
        CheckpointError: the model cannot be opened.
        ExportError: the recipe cannot be written, or exists.
        Others as `mlexport.sweep.run_sweep`.
    """
    request.check()
    data = request.data or BUILTIN
    languages = matching(request.languages, read_retrieval_set(data).languages, data) if request.languages else ()
    candidates = plan_candidates(request, languages)
    work = _Work(request, candidates, languages, progress)
    work.read()
    planned = work.measure_some()
    return work.result(planned)


class _Work:
    """What is known so far."""

    def __init__(
        self,
        request: ChooseRequest,
        candidates: Candidates,
        languages: tuple[str, ...],
        progress: SweepProgress | None,
    ) -> None:
        self.request, self.candidates, self.languages, self.progress = request, candidates, languages, progress
        self.limits = request.limits
        self.objective = choice.objective_of(request.limits, request.prefer)
        identity = hashlib.sha256(candidates.sweep.identity.encode()).hexdigest()[:8]
        self.own = request.folder / f"choose-{Path(request.model).name}-{identity}"
        self.known = Known(options={}, notes=())
        self.new = 0
        self.failed: dict[str, None] = {}

    def read(self) -> None:
        """Sweeps that were named, or those that lie there."""
        named = bool(self.request.sweeps)
        paths = self.request.sweeps or tuple(sweeps_under(self.request.folder))
        self.known = read_known(paths, self.candidates, self.languages, named=named)

    def options(self) -> list[Option]:
        """Measured ones, and planned ones that were not measured."""
        measured = {(*one.body, one.dim) for one in self.known.options}
        rest = [one for one in self.candidates.options if (*one.body, one.dim) not in measured]
        return [*self.known.options, *rest]

    def measure_some(self) -> tuple[Option, ...]:
        """Measure what is worth it; in a dry run, what would be measured first."""
        budget = self._budget()
        if self.request.dry_run:
            return tuple(self._next(self.limits, set(), min(budget, _BATCH)))
        self._search(self.limits, budget)
        asked = self.limits
        if asked.min_retention is not None and choice.pick(self.options(), asked, self.objective) is None:
            for limit in (SIZE, LATENCY):
                wider = choice.without(asked, limit)
                if wider != asked:
                    self._search(wider, budget, choice.FASTEST if limit == LATENCY else choice.SMALLEST)
        return ()

    def _budget(self) -> int:
        if self.request.measure is not None:
            return self.request.measure
        others = [one for one in self.known.options if Path(one.source or "").parent != self.own]
        found = choice.pick(others, self.limits, self.objective) is not None
        return 0 if self.request.sweeps or found else MEASURE

    def _search(self, limits: Limits, budget: int, objective: str | None = None) -> None:
        """Visit so many models; one that was measured before is visited without work, so that a search ends alike."""
        visited: set[tuple[object, ...]] = set()
        while len(visited) < budget:
            batch = self._next(limits, visited, min(_BATCH, budget - len(visited)), objective)
            if not batch:
                return
            visited |= {one.body for one in batch}
            self._measure([one for one in batch if one.body not in self._kept()])

    def _next(
        self, limits: Limits, visited: set[tuple[object, ...]], most: int, objective: str | None = None
    ) -> list[Option]:
        kept = {body: value for body, value in self._kept().items() if body in visited}
        # By planned sizes, measured or not: the same question takes the same way. One whose verification failed
        # was visited, and says nothing of others
        able = [one for one in widest(self.candidates.options) if one.body in kept or one.body not in visited]
        return next_bodies(able, kept, limits, objective or self.objective, most)

    def _kept(self) -> Mapping[tuple[object, ...], float]:
        kept: dict[tuple[object, ...], float] = {}
        for one in self.known.options:
            kept[one.body] = max(kept.get(one.body, 0.0), one.retained or 0.0)
        return kept

    def _measure(self, batch: Sequence[Option]) -> None:
        bodies = {one.body for one in batch}
        cuts = tuple(cut for option, cut in self.candidates.cuts.items() if option.body in bodies)
        if not cuts:
            return
        plan = replace(self.candidates.sweep, cuts=cuts)
        found = run_sweep(plan, SweepOptions(out=self.own, jobs=self.request.jobs), self.progress)
        asked = [(point, _cut_of(point)) for point in found.points if any(one.cut == _cut_of(point) for one in cuts)]
        # A sweep does nothing of what it has done before
        last = found.runs[-1].run
        self.new += len({replace(cut, dim=0) for point, cut in asked if point.run == last})
        self.failed |= {
            f"{point.label} {point.status}: {point.reason}": None
            for point, cut in asked
            if point.status in (FAILED, ERROR) and cut.dim == max(one.dim for _, one in asked)
        }
        own = read_known([self.own], self.candidates, self.languages, named=True)
        measured = {(*one.body, one.dim) for one in own.options}
        others = {one: recipe for one, recipe in self.known.options.items() if (*one.body, one.dim) not in measured}
        self.known = Known(options={**own.options, **others}, notes=self.known.notes)

    def result(self, planned: tuple[Option, ...]) -> Chosen:
        """The choice, and the recipe's file."""
        options, limits, objective = self.options(), self.limits, self.objective
        option = choice.pick(options, limits, objective)
        others = choice.runners_up(options, option, limits, objective, _RUNNERS_UP) if option is not None else []
        fitting = [one for one in options if choice.fits(one, limits)]
        binds: tuple[str, ...] = ()
        relaxed, near = list[choice.Relaxed](), None
        # Without a measurement nothing is known of retention: then only size and latency can be impossible
        asked = limits if not self.request.dry_run else choice.without(limits, RETENTION)
        if option is None and (not self.request.dry_run or not fitting):
            relaxed = choice.relaxations(options, asked)
            near = choice.nearest(options, asked)
            binds = tuple(one.limit for one in relaxed) or tuple(choice.asked(asked))
        recipe = None
        if option is not None and not self.request.dry_run:
            made = chosen_recipe(
                option,
                self.known.options[option],
                model=self.request.model,
                profile=self.request.profile,
                limits=limits,
                languages=self.languages,
            )
            recipe = write_recipe(made, self.request.out)
        return Chosen(
            model=self.request.model,
            profile=self.candidates.profile.name,
            limits=limits,
            languages=self.languages,
            objective=objective,
            option=option,
            runners_up=tuple(others),
            binds=binds,
            relaxed=tuple(relaxed),
            nearest=near,
            options=len(options),
            fitting=len(fitting),
            fitting_known=sum(one.retained is not None for one in fitting),
            measured=len(self.known.options),
            new=self.new,
            plan=planned,
            notes=(*self.known.notes, *self._notes(option)),
            recipe=recipe,
        )

    def _notes(self, option: Option | None) -> list[str]:
        notes = list(self.failed)
        if option is None:
            return notes
        limits, high, low = self.limits, option.high_ms, option.retained_low
        if high is not None and limits.max_ms is not None and high > limits.max_ms:
            notes.append(
                f"the latency is estimated: up to {show_ms(high)} ms is within its range, which is over the "
                "limit; measure on a device with `mlexport bench`"
            )
        if low is not None and limits.min_retention is not None and low < limits.min_retention:
            notes.append(f"the 95% interval of its retention begins below {limits.min_retention:.1%}")
        near = self._nearly(option)
        if near is not None:
            notes.append(
                f"{near.label} keeps {100 * ((option.retained or 0.0) - (near.retained or 0.0)):.1f} points less in "
                f"{near.bytes / option.bytes:.0%} of the bytes: --min-retention "
                f"{int((near.retained or 0.0) * 100) / 100:.2f} would take it"
            )
        if self.languages:
            notes.append("retention is of these languages' queries alone; its interval is made of theirs")
            if limits.min_retention is not None:
                notes.append("the recipe demands no retention: `mlexport run` measures that of all languages")
        return notes

    def _nearly(self, option: Option) -> Option | None:
        """The smallest of the measured that keeps at most a point less than the best, in clearly fewer bytes."""
        if self.objective != choice.BEST or self.limits.min_retention is not None:
            return None
        enough = replace(self.limits, min_retention=(option.retained or 0.0) - 0.01)
        found = choice.pick(self.known.options, enough, choice.SMALLEST)
        return found if found is not None and found.bytes < 0.8 * option.bytes else None


def widest(options: Sequence[Option]) -> list[Option]:
    """The widest option of each body, in the order of the options."""
    found: dict[tuple[object, ...], Option] = {}
    for one in options:
        if one.body not in found or one.dim > found[one.body].dim:
            found[one.body] = one
    return sorted(found.values(), key=axes, reverse=True)


def _cut_of(point: Point) -> Cut:
    return Cut(**{field.name: getattr(point, field.name) for field in fields(Cut)})
