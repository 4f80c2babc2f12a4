"""What `choose` is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlexport.choose.write import check_file
from mlexport.chosen import BEST, FASTEST, SMALLEST, Limits
from mlexport.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseRequest:
    """What is asked.

    Attributes:
        prefer: "size", "latency" or "quality"; None takes quality, or size where a retention is asked for.
        languages: codes as in the evaluation set; empty for all of its queries.
        targets: formats; empty takes all that the profile runs.
        sweeps: files to choose from; empty looks under `folder`.
        measure: models that are measured at most; None: none where sweeps have an answer, else 4.
        data, sample: evaluation set (a folder in BEIR's layout; None is the built-in one), and how many of its
            queries; None takes all.
        out: the recipe's file.
        folder: where sweeps are looked for, and where what is measured is kept.
    """

    model: str = "demo"
    profile: str
    limits: Limits = field(default_factory=Limits)
    prefer: str | None = None
    languages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    sweeps: tuple[Path, ...] = ()
    measure: int | None = None
    data: str | None = None
    sample: int | None = None
    jobs: int = 1
    out: Path = Path("chosen.yaml")
    folder: Path = Path("out")
    dry_run: bool = False
    force: bool = False

    def check(self) -> None:
        """Refuse words that make no sense, and a file that is in the way.

        Raises:
            UsageError: an unknown word, or a number out of its range.
            ExportError: the recipe cannot be written.
        """
        if self.prefer not in (None, SMALLEST, FASTEST, BEST):
            raise UsageError(f"--prefer {self.prefer}: choose from size, latency, quality")
        if self.measure is not None and self.measure < 0:
            raise UsageError(f"--measure {self.measure}: the least is 0")
        kept = self.limits.min_retention
        if kept is not None and not 0 < kept <= 1:
            raise UsageError(f"--min-retention {kept:g} is not a share of 1, such as 0.95")
        if not self.dry_run:
            check_file(self.out, force=self.force)
