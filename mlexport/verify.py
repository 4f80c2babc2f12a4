"""An artifact's vectors, from its own runtime, against transformers on the checkpoint cut by hand."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mlexport import child, runtime
from mlexport.artifact import IDS, VerifyReport
from mlexport.child import Answers
from mlexport.errors import UsageError, VerificationError, missing_extra
from mlexport.kept import SplitChange
from mlexport.memory import available_bytes
from mlexport.model import TABLE, SubModel
from mlexport.probes import PROBES, SAMPLE_NAMES, Probe, over_long
from mlexport.spec import Target

MODES = ("full", "sample", "off")
# An over-long text at the whole context would take minutes on the longest models
LONGEST_COMPARED = 2048
# Share of the free memory that the reference may take before a smaller check is proposed
MEMORY_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Cosine to the reference that the mean and the lowest of the probe texts must reach."""

    mean: float
    min: float


# 16-bit and 8-bit limits are several times the losses measured on the demo and on random weights (q8_0: mean .0003
# and .0007); below 8 bits the loss belongs to the model, so only plainly broken files fail and the loss is printed.
THRESHOLDS: Mapping[str, Threshold] = {
    "f32": Threshold(mean=0.99999, min=0.99999),
    "f16": Threshold(mean=0.9999, min=0.9995),
    "bf16": Threshold(mean=0.999, min=0.99),
    "q8_0": Threshold(mean=0.998, min=0.98),
    "q6_k": Threshold(mean=0.99, min=0.95),
    "q5_k_m": Threshold(mean=0.97, min=0.90),
    "q5_0": Threshold(mean=0.97, min=0.90),
    "q4_k_m": Threshold(mean=0.90, min=0.75),
    "q4_0": Threshold(mean=0.85, min=0.65),
    "iq4_xs": Threshold(mean=0.90, min=0.75),
    "auto": Threshold(mean=0.80, min=0.50),
    "int8": Threshold(mean=0.98, min=0.90),
    "int8_b32": Threshold(mean=0.998, min=0.98),
    "int4_b32": Threshold(mean=0.90, min=0.75),
    "int4_b64": Threshold(mean=0.90, min=0.75),
    "int4_b128": Threshold(mean=0.85, min=0.65),
    "int8_sym": Threshold(mean=0.995, min=0.98),
    "int4_sym": Threshold(mean=0.90, min=0.75),
    "int4_sym_b64": Threshold(mean=0.90, min=0.75),
    "int4_sym_b128": Threshold(mean=0.85, min=0.65),
    "w8a16": Threshold(mean=0.98, min=0.90),
}


def parse_mode(text: str) -> str:
    """A verification mode of MODES.

    Raises:
        UsageError: another word.
    """
    if text not in MODES:
        raise UsageError(f"unknown verification '{text}': choose from {', '.join(MODES)}")
    return text


def threshold_for(precisions: Sequence[str], bound: float | None = None) -> Threshold:
    """The loosest threshold of the precisions in use, of body and table; `bound`: a mean that was asked for."""
    found = [THRESHOLDS[precision] for precision in precisions]
    mean = min(t.mean for t in found)
    return Threshold(mean=mean if bound is None else max(mean, bound), min=min(t.min for t in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Texts to compare, and in words what this mode leaves out."""

    mode: str
    probes: Sequence[Probe]
    not_checked: tuple[str, ...]


class Reference:
    """transformers' vectors of the probe texts for one cut, computed by a child process beside other work.

    One reference serves every target of a cut. Use it in a `with` block: its end stops the child.

    Attributes:
        sub: the cut.
        mode: "full" (all probes), "sample" (twelve, layers one at a time: any size of model) or "off".
    """

    def __init__(self, sub: SubModel, mode: str) -> None:
        self.sub, self.mode = sub, parse_mode(mode)
        self._child: subprocess.Popen[str] | None = None
        self._answers: Answers | None = None

    def __enter__(self) -> Reference:
        """Start the child.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            VerificationError: the whole model would not fit into memory.
        """
        if self.mode != "off":
            self.choice = choose_probes(self.sub.checkpoint.text.max_length, self.mode)
            stream = self.mode == "sample"
            require_reference(self.sub, stream=stream)
            self._work = tempfile.TemporaryDirectory(prefix="mlexport-verify-")
            texts = [probe.text for probe in self.choice.probes]
            self._child = child.start(self.sub, texts, Path(self._work.name), stream=stream)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the child, whether it is done or not."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._work.cleanup()

    def answers(self) -> Answers:
        """Ids and vectors; the first call waits for the child.

        Raises:
            VerificationError: it failed.
        """
        if self._answers is None:
            assert self._child is not None
            self._answers = child.finish(self._child, Path(self._work.name))
        return self._answers


def verify(
    reference: Reference,
    target: Target,
    *,
    precisions: Sequence[str],
    folder: Path,
    model_file: str,
    takes: str = IDS,
    bound: float | None = None,
) -> VerifyReport:
    """Compare the artifact in `folder`, in its own runtime, with the reference on the probe texts.

    Args:
        reference: entered, for the cut the artifact was made from.
        precisions: the format's own names for body and table; the loosest threshold applies.
        model_file: what `export` returned.
        takes: IDS, or TEXT for a file with the tokenizer inside.
        bound: mean cosine that was asked for, where the precisions' threshold lies below it.

    Raises:
        MissingExtraError: the runtime is not installed.
        VerificationError: the reference itself could not be computed. A failed comparison raises nothing:
            its report says "failed".
    """
    threshold = threshold_for(precisions, bound)
    if reference.mode == "off":
        return _not_verified(threshold)
    sub, texts = reference.sub, [probe.text for probe in reference.choice.probes]
    embedder = runtime.load(target, folder, model_file, sub.text, sub.spec.dim, takes=takes)
    try:
        artifact = Answers(ids=embedder.token_ids(texts), vectors=embedder.embed(texts), source=target)
    finally:
        embedder.close()
    return compare(reference.choice, artifact, reference.answers(), threshold, sliced=sub.vocabulary is not None)


def _not_verified(threshold: Threshold) -> VerifyReport:
    return VerifyReport(
        status="off",
        mode="off",
        texts=0,
        mean_cosine=None,
        min_cosine=None,
        threshold=asdict(threshold),
        worst_text="",
        token_mismatches=0,
        largest_residual=None,
        reference="none",
        not_checked=("token ids and vectors were not compared with transformers (--verify off)",),
    )


def choose_probes(longest: int, mode: str) -> Choice:
    """The probe texts of a mode, for models whose longest text has so many tokens."""
    probes = list(PROBES)
    not_checked: list[str] = []
    if mode == "sample":
        probes = [probe for probe in PROBES if probe.name in SAMPLE_NAMES]
        not_checked.append(f"{len(PROBES) - len(probes)} of {len(PROBES)} probe texts (--verify sample)")
    if mode == "full" and longest <= LONGEST_COMPARED:
        probes.append(over_long(longest))
    else:
        not_checked.append(f"a text over the limit of {longest} tokens")
    return Choice(mode=mode, probes=probes, not_checked=tuple(not_checked))


def require_reference(sub: SubModel, *, stream: bool) -> None:
    """Refuse what the reference cannot do, before anything is loaded."""
    for module in ("torch", "transformers"):
        if find_spec(module) is None:
            raise missing_extra(module, "torch", "verification (or pass --verify off)")
    if not stream:
        _check_memory(sub)


def _check_memory(sub: SubModel) -> None:
    """Refuse a reference that will not fit, before anything is loaded (Linux; elsewhere nothing is known)."""
    free = available_bytes()
    # float32 weights, and once more the table while it is replaced; a vocabulary slice's reference has it whole
    body = sum(tensor.size for name, tensor in sub.tensors.items() if name != TABLE)
    needed = 4 * (body + 2 * sub.checkpoint.tensors[TABLE].size)
    if free is not None and needed > MEMORY_SHARE * free:
        raise VerificationError(
            f"full verification needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free: "
            "pass --verify sample (one layer at a time), or --verify off"
        )


def compare(
    choice: Choice, artifact: Answers, reference: Answers, threshold: Threshold, *, sliced: bool
) -> VerifyReport:
    """The artifact's ids and vectors of the probe texts against the reference's; `sliced`: by a vocabulary slice."""
    norms = np.linalg.norm(artifact.vectors, axis=1) * np.linalg.norm(reference.vectors, axis=1)
    cosines = (artifact.vectors.astype(np.float64) * reference.vectors).sum(axis=1) / np.maximum(norms, 1e-30)
    # A NaN anywhere counts as the worst there is
    cosines = np.where(np.isfinite(cosines), cosines, -1.0)
    mismatches = [list(a) != list(b) for a, b in zip(artifact.ids, reference.ids, strict=True)]
    mean, lowest = float(cosines.mean()), float(cosines.min())
    passed = mean >= threshold.mean and lowest >= threshold.min and not any(mismatches)
    worst = choice.probes[int(np.argmax(mismatches)) if any(mismatches) else int(cosines.argmin())]
    return VerifyReport(
        status="passed" if passed else "failed",
        mode=choice.mode,
        texts=len(choice.probes),
        mean_cosine=mean,
        min_cosine=lowest,
        threshold=asdict(threshold),
        worst_text=_shown(worst),
        token_mismatches=sum(mismatches),
        largest_residual=reference.largest_residual,
        reference=f"{reference.source}, float32, checkpoint cut by hand, texts one at a time",
        not_checked=choice.not_checked,
        split_change=_split_change(choice, reference.changed) if sliced else None,
    )


def _split_change(choice: Choice, changed: Mapping[int, float]) -> SplitChange:
    if not changed:
        return SplitChange(texts=0, mean_cosine=None, min_cosine=None, worst_text="")
    worst = min(changed, key=lambda text: changed[text])
    return SplitChange(
        texts=len(changed),
        mean_cosine=sum(changed.values()) / len(changed),
        min_cosine=changed[worst],
        worst_text=_shown(choice.probes[worst]),
    )


def _shown(probe: Probe) -> str:
    return f"{probe.name}: {probe.text}"[:80]
