"""Where and how a runtime runs a model; the defaults are what every command but `bench` uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlexport.tensors import Float32

# Runs the texts that it was made for: vectors, float32 [texts, dim], L2-normalised
Call = Callable[[], Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how.

    Attributes:
        provider: ONNX Runtime's execution provider, OpenVINO's device, llama.cpp's or torch's back end, such as
            "CUDAExecutionProvider", "NPU", "cuda"; None is the CPU.
        options: as the runtime takes them: the provider's options (ONNX Runtime; keys that begin with "session." are
            session configuration entries), properties (OpenVINO), micro_batch, flash_attention, kv (llama.cpp), dtype
            (torch).
        threads: all in all; None is the runtime module's own choice.
        streams: calls that will run at the same time; they share the threads.
        gpu_layers: llama.cpp: layers kept on the GPU; None is all of them where the provider is one.
    """

    provider: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    streams: int = 1
    gpu_layers: int | None = None


DEFAULT = Settings()
