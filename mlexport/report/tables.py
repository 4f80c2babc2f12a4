"""Tables as data, which HTML and Markdown both render."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; numbers stand on the right."""

    name: str
    number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell.

    Attributes:
        kind: "measured", "estimated", "refused" for cells that say so; "best" for what a front holds; else "".
    """

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its title and what has to be known to read it.

    Attributes:
        folded: few read it: a page shows it when asked.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    folded: bool = False


def cells(*texts: str) -> tuple[Cell, ...]:
    """Plain cells."""
    return tuple(Cell(text=text) for text in texts)


def columns(*names: str) -> tuple[Column, ...]:
    """Columns; a name that begins with ">" is of numbers."""
    return tuple(Column(name=name.removeprefix(">"), number=name.startswith(">")) for name in names)
