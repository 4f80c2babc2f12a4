"""What a unit does not take, and the limits that a model passes on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mlexport.estimate.work import Work
from mlexport.profile import Profile

# Operators, name of a list -> those that the list does not have: `mlexport.npu.unsupported`
Unsupported = Callable[[Iterable[str], str], tuple[str, ...]]
# https://gpuweb.github.io/gpuweb/#limits: maxBufferSize that every implementation has
_WEBGPU_BUFFER_BYTES = 256 * 2**20
_SHOWN = 6
# Tokens that an NPU is cut for in an example
_USUAL = 128


def refusal(profile: Profile, work: Work, tokens: int, batch: int, unsupported: Unsupported) -> str | None:
    """Why a unit does not run the work at all, with the next step; None where it does."""
    unit = profile.unit
    if unit.shapes == "static" and work.shape is None:
        return (
            f"{unit.name} takes fixed shapes alone, this graph takes texts of any length: "
            f"pass --static {batch}x{_USUAL} to `mlexport slice`, or to this command for a cut"
        )
    if work.shape is not None and (batch, tokens) != work.shape:
        fixed = "x".join(map(str, work.shape))
        if tokens > work.shape[1] or batch > work.shape[0]:
            return f"the file is fixed to {fixed}: {batch} texts of {tokens} tokens do not fit. Cut it with --static"
    if unit.operators != "any":
        missing = unsupported(work.operators, unit.operators)
        if missing:
            return _missing(profile, work, missing, f"{batch}x{_USUAL}")
    return None


def _missing(profile: Profile, work: Work, missing: tuple[str, ...], shape: str) -> str:
    names = ", ".join(missing[:_SHOWN]) + ("" if len(missing) <= _SHOWN else f" and {len(missing) - _SHOWN} more")
    step = (
        f"pass --static {shape}, which writes them out"
        if work.shape is None
        else "choose a precision whose graph has none of them, such as --precision f32 (computed in f16 there)"
    )
    return f"{profile.unit.name} has no {names} on its list of operators ({profile.unit.operators}): {step}"


def warnings(profile: Profile, work: Work, file_bytes: int, memory_bytes: int) -> Iterator[str]:
    """Limits that the file passes, a sentence each."""
    limits, capacity = profile.unit.limits, profile.device.memory.capacity_gb
    if limits.file_mb is not None and file_bytes > limits.file_mb.value * 1e6:
        yield (
            f"the model file has {file_bytes / 1e6:,.0f} MB, the limit of {profile.name} is "
            f"{limits.file_mb.value:,.0f} MB: {limits.file_mb.source}"
        )
    if limits.memory_mb is not None and memory_bytes > limits.memory_mb.value * 1e6:
        yield (
            f"about {memory_bytes / 1e6:,.0f} MB of memory, an app on {profile.name} gets "
            f"{limits.memory_mb.value:,.0f} MB: {limits.memory_mb.source}"
        )
    if capacity is not None and memory_bytes > capacity.value * 1e9 / 2:
        yield f"about {memory_bytes / 1e6:,.0f} MB of memory are more than half of the device's {capacity.value:g} GB"
    largest = _largest_tensor(work)
    if largest > _WEBGPU_BUFFER_BYTES:
        yield (
            f"its largest tensor has {largest / 1e6:,.0f} MB: in a browser, WebGPU's largest buffer is 268 MB unless "
            "the page asks for more"
        )


def _largest_tensor(work: Work) -> int:
    sizes = [product.bytes for product in work.products if not product.head]
    return max([*sizes, *(lookup.table_bytes for lookup in work.lookups)])
