"""The error tree. Each message is one line: what, got, limit, next step.

The command line prints the message and exits with the class's `exit_code`; nothing
else in the package prints or exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class MlexportError(Exception):
    """Base of every error that a user can cause or mend."""

    exit_code: ClassVar[int] = 1


class UsageError(MlexportError):
    """An option or argument does not make sense: unknown precision, unknown target, empty input."""

    exit_code: ClassVar[int] = 2


class DocumentError(UsageError):
    """A YAML file of the user's is not what it should be; `problems` has every error.

    Args:
        problems: "line: what" each.
        others: of no line, such as a value given by an option.
    """

    def __init__(self, path: Path, problems: Sequence[str], others: Sequence[str] = ()) -> None:
        self.problems = (*(f"{path}:{problem}" for problem in problems), *others)
        count = len(self.problems)
        super().__init__(self.problems[0] if count == 1 else f"{path} has {count} errors")


class CutError(UsageError):
    """The cut does not exist in the checkpoint, or was not trained and was not allowed."""


class CheckpointError(MlexportError):
    """The checkpoint is missing, incomplete, damaged, or not a Qwen3-architecture embedder."""

    exit_code: ClassVar[int] = 3


class ExportError(MlexportError):
    """An artifact could not be written: existing target, full disk, read-only folder."""

    exit_code: ClassVar[int] = 4


class VerificationError(MlexportError):
    """The artifact's vectors differ from the reference by more than the precision allows."""

    exit_code: ClassVar[int] = 5


class CalibrationError(MlexportError):
    """Calibration could not be run, or no mixture of precisions meets the bound that was asked for."""

    exit_code: ClassVar[int] = 9


class MissingExtraError(MlexportError):
    """A heavy library is not installed; the message names the pip line."""

    exit_code: ClassVar[int] = 6


class ArtifactError(MlexportError):
    """A folder is not an artifact, or its files do not match its manifest."""

    exit_code: ClassVar[int] = 7


class MeasureError(MlexportError):
    """Latency could not be measured: a provider is missing, a device cannot be reached, a run failed."""

    exit_code: ClassVar[int] = 10


class DemandError(MlexportError):
    """A recipe was run, and what came out does not meet its demands; everything was kept."""

    exit_code: ClassVar[int] = 11


class EvaluationError(MlexportError):
    """Retention could not be measured: the full model's vectors could not be computed, or an mteb task failed."""

    exit_code: ClassVar[int] = 9


def missing_extra(module: str, extra: str, purpose: str) -> MissingExtraError:
    """The error for an absent optional library."""
    return MissingExtraError(f'{purpose} needs {module}, which is not installed: pip install "mlexport[{extra}]"')
