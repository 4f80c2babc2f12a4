"""Write docs/devices.md from device_profiles/*.yaml; `make docs` runs it.

python docs/generate_devices.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from mlexport.profile import Profile, Runtime
from mlexport.profiles import NamedFigure, all_profiles, profile_figures
from mlexport.report.profiles import grades, number, precisions, span, targets

OUT = Path(__file__).with_name("devices.md")

INTRODUCTION = """\
# Devices

Generated from [device_profiles](../device_profiles) by `make docs`; a test keeps it up to date.

A profile is what `bench --profile` and `estimate --profile` know of a processor: which runtimes run there with which
options, targets and precisions, whether it takes fixed shapes alone, how fast it multiplies, and its limits. A file is
a device, a profile one of its units: `pixel-8-cpu`. A device with one unit is also called by its name alone (`h200`).

```
mlexport profiles ls                              # this table
mlexport profiles show snapdragon-8-elite-npu     # every figure, as below
mlexport profiles cp pixel-8 mine.yaml            # a copy to edit; --profile mine.yaml:npu takes it
mlexport profiles schema > profile.schema.json    # for editors
```

Every figure has a source and a grade:

| grade | meaning |
|---|---|
| measured | on the device, by mlexport |
| published | by its maker, or on the page of a model that was run there |
| third party | by somebody else, who may have measured or copied it |
| derived | by the arithmetic that stands in its source, from figures that are published or third party |
| assumed | by analogy to a neighbour, which is named; the range is wide on purpose |

**Effective** throughput is what models reach, and estimates rest on it: 2 x parameters without the token table x
tokens, and attention, over the latency that somebody published. Marketed TOPS over-predict it five to ten times.
`RUNTIME/PRECISION` is that of one runtime. A range is what several measurements span, or what an assumption allows.
Throughputs of integers are in TOP/s; a multiply-add counts two.

Memory bandwidth is the device's peak, unless *bandwidth reached* says what models get. A browser's WebGPU gives a
buffer 256 MiB at most, on all of these: a token table above that has to be cut or stored in fewer bits.
"""


def page(profiles: Sequence[Profile]) -> str:
    """docs/devices.md."""
    parts = [INTRODUCTION, *summary(profiles)]
    for name, units in groupby(profiles, key=lambda profile: profile.device.device):
        group = list(units)
        parts += ["", f"## {name}", "", f"{group[0].device.chip}."]
        parts += [f"{note}" for note in group[0].device.notes]
        for profile in group:
            parts += ["", *section(profile)]
    return "\n".join(parts) + "\n"


def summary(profiles: Iterable[Profile]) -> list[str]:
    """A row a profile."""
    lines = [
        "| profile | unit | shapes | targets | precisions | measured | published | third party | derived | assumed |"
    ]
    lines.append("|---|---|---|---|---|--:|--:|--:|--:|--:|")
    for profile in profiles:
        cells = [f"[{profile.name}](#{profile.name})", profile.unit.name, profile.unit.shapes]
        cells += [", ".join(targets(profile)) or "none yet", ", ".join(precisions(profile))]
        cells += [str(count or "") for count in grades(profile).values()]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def section(profile: Profile) -> list[str]:
    """Runtimes, figures and limits of a profile."""
    lines = [f"### {profile.name}", "", f"{profile.unit.name}; {profile.unit.shapes} shapes.", ""]
    lines += [f"- {runtime(one)}" for one in profile.unit.runtimes]
    lines += [f"- Limit: {text}" for text in profile.unit.limits.warnings]
    figures = list(profile_figures(profile))
    if not figures:
        return [*lines, "", "No figures: it is measured, not estimated."]
    return [
        *lines,
        "",
        "| figure | value | range | unit | grade | source |",
        "|---|--:|--:|---|---|---|",
        *map(row, figures),
    ]


def runtime(one: Runtime) -> str:
    """A runtime in one line."""
    options = "".join(f" `{key}={value}`" for key, value in one.options.items())
    runs = f"targets {', '.join(one.targets)}" if one.targets else "no target of mlexport yet"
    return f"{one.name} `{one.provider}`{options}: {runs}; {', '.join(one.precisions)} ({one.grade}: {one.source})"


def row(one: NamedFigure) -> str:
    """A figure as a row of a table."""
    figure = one.figure
    source = figure.source.replace("|", "\\|")
    return f"| {one.name} | {number(figure.value)} | {span(one)} | {one.unit} | {figure.grade} | {source} |"


if __name__ == "__main__":
    OUT.write_text(page(all_profiles()), encoding="utf-8")
