"""Where and how a runtime runs a model; the defaults are what every command but `bench` uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how.

    Attributes:
        provider: ONNX Runtime's execution provider, OpenVINO's device, llama.cpp's or torch's back end, such as
            "CUDAExecutionProvider", "NPU", "cuda"; None is the CPU.
        options: as the runtime takes them: the provider's options (ONNX Runtime; keys that begin with "session." are
            session configuration entries), properties (OpenVINO), micro_batch, flash_attention, kv (llama.cpp), dtype
            (torch).
        threads: None is the runtime module's own choice.
        gpu_layers: llama.cpp: layers kept on the GPU; None is all of them where the provider is one.
    """

    provider: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int | None = None
    gpu_layers: int | None = None


DEFAULT = Settings()
