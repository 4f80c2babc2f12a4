"""Where reports are printed, and how sizes and lines look in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from mlexport.results import Step

# Width of a table that no terminal limits
_FILE_WIDTH = 110


def make_console() -> Console:
    """A console on standard output, as wide as its terminal; no markup in what it prints."""
    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=_FILE_WIDTH)


def megabytes(count: int) -> str:
    """Bytes in MB (10^6), or in KB below a tenth of one."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} KB"


def millions(count: int) -> str:
    """Parameters in millions, or in thousands below a tenth of one."""
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count / 1e3:,.1f} K"


def heading(console: Console, text: str) -> None:
    """A bold line."""
    console.print(Text(text, style="bold"), soft_wrap=True)


def line(console: Console, name: str, text: str, style: str = "") -> None:
    """A fact behind its name."""
    # Soft wrap: a path or a command must stay in one piece for copying
    console.print(Text(f"{name:<12}  ", style="dim") + Text(text, style=style), soft_wrap=True)


def times(steps: Sequence[Step]) -> str:
    """Steps and their seconds."""
    return " · ".join(f"{step.name} {step.seconds:.2f} s" for step in steps)


def show_prompts(console: Console, prompts: Mapping[str, str]) -> None:
    """The prompts a checkpoint names."""
    line(console, "prompts", ", ".join(f"{name} {text!r}" for name, text in prompts.items()) or "none")
