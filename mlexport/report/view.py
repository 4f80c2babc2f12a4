"""What templates are given besides tables."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A plot with its heading and what has to be known to read it."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    """A series' marks and its name."""

    name: str
    marks: tuple[Markup, ...]
