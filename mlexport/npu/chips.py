"""Qualcomm's chips with an NPU that the compiler writes for: their numbers in its options.

`soc_model` is the number of QNN_SOC_MODEL_… in QnnTypes.h of Qualcomm's AI Runtime SDK; `htp_arch` is the Hexagon
version, held against ExecuTorch's table where that has the chip; X2 Elite's two are from third parties. Qualcomm's own
table of devices was not seen. A binary for one version does
not load on an older one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlexport.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One system on a chip.

    Attributes:
        soc: Qualcomm's part number, in small letters.
        name: as it is sold.
        soc_model, htp_arch: the compiler's options of these names.
    """

    soc: str
    name: str
    soc_model: int
    htp_arch: int


def _chips(*rows: tuple[str, str, int, int]) -> Mapping[str, Chip]:
    return {soc: Chip(soc=soc, name=name, soc_model=model, htp_arch=arch) for soc, name, model, arch in rows}


# Those for which onnxruntime-qnn 2.7 compiled a graph in f16. It did not for version 68 (out of memory), nor for the
# 8s Gen 3 and 8s Gen 4 (numbers 68 and 85: every node is left to the CPU)
CHIPS: Mapping[str, Chip] = _chips(
    ("sm8450", "Snapdragon 8 Gen 1", 36, 69),
    ("sm8475", "Snapdragon 8+ Gen 1", 42, 69),
    ("sm8550", "Snapdragon 8 Gen 2", 43, 73),
    ("sm8650", "Snapdragon 8 Gen 3", 57, 75),
    ("sm8750", "Snapdragon 8 Elite", 69, 79),
    ("sm8850", "Snapdragon 8 Elite Gen 5", 87, 81),
    ("sc8380xp", "Snapdragon X Elite", 60, 73),
    ("sc8480xp", "Snapdragon X2 Elite", 88, 81),
)
DEFAULT = "sm8650"


def find_chip(soc: str | None, htp_arch: int | None) -> Chip:
    """The chip of a part number, or the first of a Hexagon version.

    Args:
        soc: a key of CHIPS in any case; None with `htp_arch` None is DEFAULT.

    Raises:
        UsageError: unknown, or the two do not belong together.
    """
    if soc is None and htp_arch is None:
        return CHIPS[DEFAULT]
    if soc is not None and soc.lower() not in CHIPS:
        known = ", ".join(f"{chip.soc} ({chip.name})" for chip in CHIPS.values())
        raise UsageError(f"unknown --soc '{soc}': choose from {known}")
    chosen = [chip for chip in CHIPS.values() if soc is None or chip.soc == soc.lower()]
    fitting = [chip for chip in chosen if htp_arch in (None, chip.htp_arch)]
    if not fitting and soc is None:
        versions = ", ".join(str(version) for version in sorted({chip.htp_arch for chip in CHIPS.values()}))
        raise UsageError(f"unknown --htp-arch {htp_arch}: choose from {versions}")
    if not fitting:
        raise UsageError(f"--soc {soc} has htp_arch {chosen[0].htp_arch}, got --htp-arch {htp_arch}: leave that out")
    return fitting[0]
