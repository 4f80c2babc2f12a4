"""Vectors of an `hf` artifact, through sentence-transformers: on the CPU, or on the device that `Settings` say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlexport.errors import MeasureError, missing_extra
from mlexport.latency import Engine
from mlexport.model import TextFacts
from mlexport.runtime.settings import DEFAULT, Call, Settings
from mlexport.tensors import Float32

if TYPE_CHECKING:
    import torch

BATCH = 16
_DTYPES = ("float32", "bfloat16", "float16")


class TorchEmbedder:
    """SentenceTransformer on the folder as it stands: its own tokenizer, pooling, dim cut and normalisation."""

    def __init__(self, folder: Path, model_file: str, text: TextFacts, dim: int, settings: Settings = DEFAULT) -> None:
        try:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415
        except ImportError:
            raise missing_extra("sentence_transformers", "torch", "target hf") from None
        import transformers  # noqa: PLC0415

        # Its own bar would run through ours
        transformers.utils.logging.disable_progress_bar()
        self.dim, self.settings = dim, settings
        self.device = device(settings)
        dtype = _dtype(settings)
        kwargs = {} if dtype is None else {"model_kwargs": {"dtype": dtype}}
        self.model = SentenceTransformer(str(folder / model_file), device=self.device, local_files_only=True, **kwargs)

    @property
    def fixed_shape(self) -> None:
        """Texts of any length."""
        return None

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids as the folder's own tokenizer and length limit give them, EOS last."""
        limit = self.model.max_seq_length
        encoded = self.model.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        return [list(ids) for ids in encoded]

    def embed(self, texts: Sequence[str]) -> Float32:
        """Vectors, float32 [texts, dim], L2-normalised."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        # Prompts are put before the texts by the caller: no default prompt may come on top
        vectors = self.model.encode(list(texts), prompt="", batch_size=BATCH, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def stream(self, *, batch: int, tokens: int) -> Callable[[Sequence[str]], Call]:
        """The folder's modules on ids that are on the device already; the vector comes back to the host."""
        import torch  # noqa: PLC0415

        def bind(texts: Sequence[str]) -> Call:
            # Releases before 5.4 have no preprocess
            made = getattr(self.model, "preprocess", self.model.tokenize)(list(texts))
            features = {key: value.to(self.device) for key, value in made.items() if isinstance(value, torch.Tensor)}

            def call() -> Float32:
                # A copy, since modules write their results into what they are given
                with torch.inference_mode():
                    found = self.model.forward(dict(features))["sentence_embedding"]
                return np.asarray(found.float().cpu().numpy(), dtype=np.float32)

            return call

        return bind

    def engine(self) -> Engine:
        """torch and its device; it has no nodes."""
        import torch  # noqa: PLC0415

        dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
        return Engine(
            runtime="torch",
            version=torch.__version__,
            provider=self.device,
            options=dict(self.settings.options) | {"dtype": dtype},
            threads=torch.get_num_threads(),
            nodes={},
        )

    def close(self) -> None:
        """Nothing is held but memory."""
        del self.model


def device(settings: Settings) -> str:
    """torch's device, with its threads set.

    Raises:
        MeasureError: torch does not have it here.
    """
    import torch  # noqa: PLC0415

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    wanted = (settings.provider or "cpu").lower()
    kind = wanted.split(":")[0]
    there = ["cpu"]
    there += ["cuda"] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    if kind not in there:
        hints = {
            "cuda": "pip install torch --index-url https://download.pytorch.org/whl/cu128, and NVIDIA's driver",
            "mps": "it is in torch's wheel for Macs with Apple silicon",
        }
        hint = hints.get(kind, "known are cpu, cuda, mps")
        raise MeasureError(f"torch {torch.__version__} has no {kind} here (it has: {', '.join(there)}); {hint}")
    return wanted


def _dtype(settings: Settings) -> torch.dtype | None:
    import torch  # noqa: PLC0415

    unknown = sorted(set(settings.options) - {"dtype"})
    if unknown:
        raise MeasureError(f"torch takes no option '{unknown[0]}': the only one is dtype ({', '.join(_DTYPES)})")
    name = settings.options.get("dtype")
    if name is None:
        return None
    if name not in _DTYPES:
        raise MeasureError(f"dtype '{name}' is unknown: choose from {', '.join(_DTYPES)}")
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found
