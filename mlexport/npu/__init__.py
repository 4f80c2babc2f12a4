"""What NPUs take: operators by documented list, and Qualcomm's chips."""

from __future__ import annotations

from mlexport.npu.chips import CHIPS, Chip, find_chip
from mlexport.npu.operators import LISTS, OperatorList, unsupported

__all__ = ["CHIPS", "LISTS", "Chip", "OperatorList", "find_chip", "unsupported"]
