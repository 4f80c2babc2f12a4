"""Which processor a runtime's provider means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

CPU, GPU, NPU = "CPU", "GPU", "NPU"
# As ONNX Runtime, OpenVINO, llama.cpp and torch name them; CoreML and OpenVINO's AUTO choose for themselves
_PROVIDERS: Mapping[str, str] = {
    "cpuexecutionprovider": CPU,
    "xnnpackexecutionprovider": CPU,
    "cudaexecutionprovider": GPU,
    "tensorrtexecutionprovider": GPU,
    "nvtensorrtrtxexecutionprovider": GPU,
    "dmlexecutionprovider": GPU,
    "webgpuexecutionprovider": GPU,
    "qnnexecutionprovider": NPU,
    "cpu": CPU,
    "gpu": GPU,
    "npu": NPU,
    "cuda": GPU,
    "metal": GPU,
    "mps": GPU,
    "vulkan": GPU,
    "opencl": GPU,
}


def provider_unit(provider: str) -> str | None:
    """The unit of a provider; None for one that chooses by itself, or is not known."""
    # OpenVINO numbers its devices: GPU.0; torch too: cuda:0
    return _PROVIDERS.get(provider.lower().replace(":", ".").split(".")[0])


def unit_of(profile: str, providers: Iterable[str]) -> str | None:
    """The unit of a profile: by its name (pixel-8-cpu), or else by the providers that ran, if they agree."""
    last = profile.rsplit("-", 1)[-1].upper()
    if last in (CPU, GPU, NPU):
        return last
    found = {provider_unit(provider) for provider in providers}
    return found.pop() if len(found) == 1 else None


def unit_counts(nodes: Mapping[str, int]) -> dict[str, int] | None:
    """Nodes of a graph by unit, with their sum as `total`; None where the runtime does not say."""
    if not nodes:
        return None
    counts = {"total": sum(nodes.values()), "npu": 0, "gpu": 0, "cpu": 0}
    for name, count in nodes.items():
        unit = provider_unit(name)
        if unit is not None:
            counts[unit.lower()] += count
    return counts
