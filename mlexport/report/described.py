"""What shipped profiles say of the devices that results name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlexport.errors import UsageError
from mlexport.profiles import load_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A profile in words.

    Attributes:
        words: device, chip and unit; empty for the machine that measures.
        unit: "CPU", "GPU" or "NPU".
    """

    words: str
    unit: str


def describe(names: Iterable[str]) -> Mapping[str, Described]:
    """Profiles of these names, of those that are shipped; a path in a file of results is not followed."""
    found: dict[str, Described] = {}
    for name in dict.fromkeys(names):
        if "." in name or "/" in name:
            continue
        try:
            profile = load_profile(name)
        except UsageError:
            continue
        words = dict.fromkeys((profile.device.device, profile.device.chip, profile.unit.name))
        # "This machine" is another one to whoever reads the report
        here = profile.device.form == "this machine"
        found[name] = Described(words="" if here else " · ".join(words), unit=profile.unit.kind.upper())
    return found
