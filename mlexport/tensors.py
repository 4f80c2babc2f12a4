"""Tensors that are read when asked for, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

# Rows are read so that a block of float32 numbers stays about this large
BLOCK_BYTES = 16 * 2**20

Float32 = NDArray[np.float32]
# Vectors as a user stores them
StoredArray = NDArray[np.float32] | NDArray[np.int8] | NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyTensor:
    """A named matrix or vector whose values are read on demand, as float32.

    Attributes:
        name: name in transformers' Qwen3Model, such as `layers.0.mlp.up_proj.weight`.
        shape: (rows, columns), or (numbers,) for a norm.
        stored: dtype of the file it comes from: "bf16", "f16" or "f32".
        packed: the bytes of the rows in order, uint8, where they were chosen before, in the scheme of the plan: an
            exporter that packs bytes writes these.
        read_rows: (start, stop) -> float32 [stop - start, columns], or float32 [stop - start] for a vector.
    """

    name: str
    shape: tuple[int, ...]
    stored: str
    read_rows: Callable[[int, int], Float32]
    packed: Callable[[], Iterator[NDArray[np.uint8]]] | None = None

    @property
    def size(self) -> int:
        """Numbers in the tensor."""
        return prod(self.shape)

    def read(self) -> Float32:
        """The whole tensor, float32."""
        return self.read_rows(0, self.shape[0])

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[Float32]:
        """The rows in order, in blocks of about `block_bytes` of float32."""
        row_bytes = 4 * prod(self.shape[1:])
        step = max(1, block_bytes // row_bytes)
        for start in range(0, self.shape[0], step):
            yield self.read_rows(start, min(start + step, self.shape[0]))
