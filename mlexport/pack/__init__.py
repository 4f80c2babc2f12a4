"""Packs: a folder that an app developer drops in, with the model, what it needs, and a sample that runs it."""

from mlexport.pack.check import PackCheck, check_pack
from mlexport.pack.platform import PLATFORM_NAMES
from mlexport.pack.write import PackResult, write_pack

__all__ = ["PLATFORM_NAMES", "PackCheck", "PackResult", "check_pack", "write_pack"]
