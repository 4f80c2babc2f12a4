"""A task, done: the one function that every executor calls, in whatever process."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mlexport import process
from mlexport.child import request_of
from mlexport.errors import VerificationError
from mlexport.evaluate.cache import cache_folder
from mlexport.evaluate.encode import reference_vectors
from mlexport.progress import Progress, Steps
from mlexport.sweep.body import measure_body
from mlexport.sweep.shared import (
    FULL,
    checkpoint_of,
    choice_of,
    data_of,
    plan_of,
    reference_name,
    store_of,
)
from mlexport.sweep.tasks import Cut, FullTask, Outcome, ReferenceTask, Task
from mlexport.verify import require_reference


def perform(task: Task, progress: Progress | None = None) -> Outcome:
    """Do a task; what it finds done in the store it does not do again.

    Raises:
        MlexportError: it cannot be done.
    """
    if isinstance(task, FullTask):
        return _full(task, progress)
    if isinstance(task, ReferenceTask):
        return _reference(task, progress)
    return measure_body(task, progress)


def _full(task: FullTask, progress: Progress | None) -> Outcome:
    settings, steps = task.settings, Steps(progress)
    store = store_of(settings)
    if store.exists(FULL):
        return Outcome(steps=())
    data = data_of(settings)
    with steps.step("full model", len(data.documents) + len(data.queries)):
        found = reference_vectors(checkpoint_of(settings), data, cache=cache_folder(), advance=steps.progress.advance)
    encoded = found.encoded
    store.write(FULL, {"documents": encoded.documents, "queries": encoded.queries, "how": np.array(found.how)})
    return Outcome(steps=tuple(steps.done))


def _reference(task: ReferenceTask, progress: Progress | None) -> Outcome:
    """One child process for all tables: its imports take longer than a small model's passes."""
    settings, steps, depths = task.settings, Steps(progress), task.depths
    store = store_of(settings)
    names = {table: reference_name(settings, table, depths) for table in task.tables}
    missing = [table for table, name in names.items() if not store.exists(name)]
    if not missing:
        return Outcome(steps=())
    with steps.step("reference", len(missing)), TemporaryDirectory(prefix="mlexport-sweep-") as folder:
        work = Path(folder)
        cuts, places = [], {}
        for number, table in enumerate(missing):
            deepest = Cut(
                layers=max(depths),
                rank=table.rank,
                vocab=table.vocab,
                dim=checkpoint_of(settings).config.hidden,
                precision="f32",
                target=settings.request.targets[0],
            )
            sub = plan_of(settings, deepest, Steps(None)).sub
            stream = settings.verify == "sample"
            require_reference(sub, stream=stream)
            choice = choice_of(settings, sub.checkpoint.text.max_length)
            own = work / str(number)
            own.mkdir()
            whole = request_of(sub, [probe.text for probe in choice.probes], own, stream=stream)
            out = own / "answers.npz"
            cuts.append({key: whole.get(key) for key in ("rank", "svd", "kept", "sliced")} | {"out": str(out)})
            places[str(out)] = names[table]
        common = {key: whole[key] for key in ("folder", "end_id", "max_length", "texts", "stream")}
        request = work / "request.json"
        request.write_text(json.dumps({**common, "depths": depths, "cuts": cuts}), encoding="utf-8")

        def told(line: str) -> None:
            # Put away as each is complete: what a killed run has finished is not done again
            if line in places:
                with np.load(line) as arrays:
                    store.write(places[line], dict(arrays))
                steps.progress.advance(1)

        code = process.run("mlexport.reference_depths", [request], work, told)
        if code != 0:
            last = process.last_words(work)
            raise VerificationError(f"the transformers reference stopped with exit code {code}: {last}")
    return Outcome(steps=tuple(steps.done))
