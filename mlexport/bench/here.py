"""Whether this machine can be the device of a profile; pure but for the reading of names."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlexport.bench import environment
from mlexport.errors import MeasureError
from mlexport.profile import Profile

_ANY = ("this machine", "any")
# A word with a digit that is this long is a part's number; shorter ones, such as the 5 of a Raspberry Pi, are not alone
_NUMBER = 3
_FILES = ("/proc/device-tree/compatible", "/sys/class/dmi/id/product_name")
_PROPERTIES = ("ro.soc.model", "ro.product.model")


def require_device(profile: Profile) -> None:
    """Refuse to measure here under the name of a device that this machine is not.

    Raises:
        MeasureError: nothing that the machine says of itself is like the profile's device.
    """
    if not resembles(profile, tuple(names())):
        device = profile.device
        raise MeasureError(
            f"this machine ({environment.processor_name()}, {platform.machine()}) does not look like profile "
            f"{profile.name} ({device.device}, {device.chip}): measure there with --on ssh://USER@HOST or adb:SERIAL, "
            f"estimate with `mlexport estimate --profile {profile.name}`, or pass --assume-device if it is that device"
        )


def resembles(profile: Profile, said: Sequence[str]) -> bool:
    """Whether one of the names a machine gives itself is the profile's device, chip or unit.

    A name of the profile is found if all its words with digits are among the machine's, such as 155H; if those are
    short, all its words are needed.
    """
    device = profile.device
    if device.form in _ANY:
        return True
    there = [_words(one) for one in said]
    parts = [part for text in (device.device, device.chip, profile.unit.name) for part in _parts(text)]
    return any(_needed(part) <= words for part in parts if _needed(part) for words in there)


def names() -> Iterator[str]:
    """What this machine says of itself: processor, board, product, graphics cards, phone."""
    yield environment.processor_name()
    yield environment.machine_name() or ""
    for file in map(Path, _FILES):
        yield _text(file).replace("\0", " ")
    for file in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        yield _text(file).split("\n", 1)[0]
    if platform.system() == "Darwin":
        yield _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    if "ANDROID_ROOT" in os.environ:
        for name in _PROPERTIES:
            yield _output(["getprop", name])


def _parts(text: str) -> list[str]:
    """ "Snapdragon X Elite, X1E-80-100 and X1E-84-100" are three names."""
    return [part.strip() for part in re.split(r"[(),]| and | to ", text) if part.strip()]


def _words(text: str) -> set[str]:
    # Intel writes "Core(TM) Ultra"
    return set(re.findall(r"[a-z0-9]+(?:[-.][a-z0-9]+)*", re.sub(r"\((r|tm)\)", " ", text.lower())))


def _needed(part: str) -> set[str]:
    words = _words(part)
    numbers = {word for word in words if any(letter.isdigit() for letter in word)}
    if any(len(word) >= _NUMBER for word in numbers):
        return numbers
    # One common word alone, such as "Vulkan" or "cores", names no device
    return words if len(words) > 1 else set()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout
    except OSError:
        return ""
