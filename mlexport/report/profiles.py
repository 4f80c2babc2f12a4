"""Device profiles for people and scripts: a list, and every figure of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlexport.profile import Grade, Profile
from mlexport.profiles import NamedFigure, profile_figures
from mlexport.report.console import heading, line

_GRADES = tuple(Grade)
# A column of the list has to be narrow
_HERE = {"this machine": "here"}


def show_profiles(console: Console, profiles: Sequence[Profile]) -> None:
    """A row a profile, and how many of its figures have which grade."""
    table = Table(box=None, pad_edge=False)
    table.add_column("profile", no_wrap=True)
    for name in ("kind", "form", "shapes"):
        table.add_column(name)
    table.add_column("targets", overflow="fold")
    table.add_column("precisions", overflow="fold")
    table.add_column("m/p/t/d/a", justify="right")
    for profile in profiles:
        unit, form = profile.unit, str(profile.device.form)
        counts = "/".join(str(count) for count in grades(profile).values())
        cells = [unit.kind, _HERE.get(form, form), unit.shapes, " ".join(targets(profile)) or "none yet"]
        table.add_row(profile.name, *cells, " ".join(precisions(profile)), counts)
    console.print(table)
    line(console, "m/p/t/d/a", f"figures that are {', '.join(_GRADES)}")
    line(console, "next", "mlexport profiles show NAME; a device with one unit is also called by its name alone (h200)")


def show_profile(console: Console, profile: Profile) -> None:
    """Runtimes, figures with unit, range, grade and source, and limits."""
    device, unit = profile.device, profile.unit
    heading(console, f"{profile.name}: {device.device}")
    line(console, "chip", device.chip)
    line(console, "unit", f"{unit.name} ({unit.kind})")
    line(console, "form", device.form)
    shapes = "fixed shapes alone (--static)" if unit.shapes == "static" else "any length of text"
    line(console, "shapes", shapes + ("" if unit.operators == "any" else f"; operators of the list {unit.operators}"))
    if unit.threads:
        line(console, "threads", str(unit.threads))
    heading(console, "\nruntimes")
    console.print(_runtimes(profile))
    heading(console, "\nfigures")
    figures = list(profile_figures(profile))
    console.print(_figures(figures) if figures else Text("none"))
    if not unit.effective:
        line(console, "estimate", "not possible: it has no effective throughput; mlexport bench measures")
    remarks = [*(("limit", text) for text in unit.limits.warnings), *(("note", text) for text in device.notes)]
    if remarks:
        console.print()
    for name, text in remarks:
        line(console, name, text)


def _runtimes(profile: Profile) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("runtime", "provider", "targets", "precisions", "grade"):
        table.add_column(name, overflow="fold")
    table.add_column("source", overflow="fold", ratio=1)
    for one in profile.unit.runtimes:
        options = [f"{key}={value}" for key, value in one.options.items()]
        provider = "\n".join([one.provider or "", *options])
        ways = ("\n".join(one.targets) or "none yet", "\n".join(one.precisions))
        table.add_row(one.name, provider, *ways, one.grade, one.source)
    return table


def _figures(figures: Iterable[NamedFigure]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("figure", overflow="fold", max_width=24)
    table.add_column("value", justify="right")
    table.add_column("range", justify="right", no_wrap=True)
    for name in ("unit", "grade"):
        table.add_column(name, no_wrap=True)
    table.add_column("source", overflow="fold", ratio=1)
    for one in figures:
        figure = one.figure
        table.add_row(one.name, number(figure.value), span(one), one.unit, figure.grade, figure.source)
    return table


def grades(profile: Profile) -> Mapping[Grade, int]:
    """Grade -> how many of the profile's figures have it; all grades, the best first."""
    counts = Counter(one.figure.grade for one in profile_figures(profile))
    return {grade: counts[grade] for grade in _GRADES}


def targets(profile: Profile) -> Sequence[str]:
    """What one of its runtimes runs."""
    return list(dict.fromkeys(target for one in profile.unit.runtimes for target in one.targets))


def precisions(profile: Profile) -> Sequence[str]:
    """What one of its runtimes computes in."""
    return list(dict.fromkeys(precision for one in profile.unit.runtimes for precision in one.precisions))


def span(one: NamedFigure) -> str:
    """Lower to upper end; empty where the source has one value."""
    low, high = one.figure.low, one.figure.high
    if low is None and high is None:
        return ""
    return f"{number(low or one.figure.value)}–{number(high or one.figure.value)}"


def number(value: float) -> str:
    """As many digits as it was given with."""
    return f"{value:,.10g}"


def list_data(profiles: Iterable[Profile]) -> Sequence[Mapping[str, object]]:
    """The list for scripts."""
    return [
        {
            "name": profile.name,
            "device": profile.device.device,
            "chip": profile.device.chip,
            "form": profile.device.form,
            "unit": profile.unit.name,
            "kind": profile.unit.kind,
            "shapes": profile.unit.shapes,
            "targets": targets(profile),
            "precisions": precisions(profile),
            "grades": {str(grade): count for grade, count in grades(profile).items()},
            "can_be_estimated": bool(profile.unit.effective),
        }
        for profile in profiles
    ]


def profile_data(profile: Profile) -> Mapping[str, object]:
    """One profile for scripts: as in its file, and its figures in a list."""
    figures = [
        {"name": one.name, "unit": one.unit, **one.figure.model_dump(mode="json")} for one in profile_figures(profile)
    ]
    device = profile.device.model_dump(mode="json", exclude={"units"})
    return {"name": profile.name, **device, "unit": profile.unit.model_dump(mode="json"), "figures": figures}
