"""What a file was compiled for, and which device profile it fits."""

from __future__ import annotations

from rich.console import Console

from mlexport.artifact import Variant
from mlexport.facts import CompiledFacts, DeviceCheck
from mlexport.report.console import line

_RAN = {
    "simulator": "Qualcomm's simulator: its vectors are compared here, its times are no chip's",
    "device": "the device's own NPU",
}
_METHODS = {"query": "asked of the device's own compiler", "list": "by the documented list"}


def show_devices(console: Console, variant: Variant, whose: str) -> None:
    """Lines for what is known; none for files that were not compiled or checked.

    Args:
        whose: put before each line where an artifact has several files.
    """
    if variant.compiled is not None:
        _show_compiled(console, variant.compiled, whose)
    if variant.device is not None:
        _show_device(console, variant.device, whose)


def _show_compiled(console: Console, facts: CompiledFacts, whose: str) -> None:
    chip = f"{facts.chip} ({facts.soc}, Hexagon V{facts.htp_arch})"
    line(console, "compiled for", f"{whose}{chip}: {facts.nodes} nodes, none left to the CPU")
    line(console, "compiler", f"QAIRT {facts.sdk}, {facts.provider}, {facts.runtime}")
    line(console, "ran in", _RAN[facts.ran])


def _show_device(console: Console, check: DeviceCheck, whose: str) -> None:
    found = f"{check.nodes} nodes of {len(check.operators)} kinds, all taken, {_METHODS[check.method]} ({check.source})"
    line(console, "fits", f"{whose}{check.profile}: {found}")
    if check.not_asked is not None:
        line(console, "not asked", f"the device's own compiler: {check.not_asked}")
