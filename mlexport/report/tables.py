"""Tables as data, which HTML and Markdown both render."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; numbers stand on the right, names and sentences have room."""

    name: str
    number: bool = False
    wide: bool = False


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
    """Columns; a name that begins with ">" is of numbers, one with "<" of long texts."""
    return tuple(Column(name=name.lstrip("<>"), number=name[0] == ">", wide=name[0] == "<") for name in names)
