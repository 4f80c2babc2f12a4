"""What a scheme can store: for each number of a matrix a row of levels, of which a code picks one.

A grid is made by the format's own kernel (its scales are kept as they are), and codes chosen by anybody are put back
into its bytes or numbers: so that rounding may look at the whole matrix, as `mlexport.quantize.compensate` does,
and any reader of the format still understands the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlexport.quantize.bits import CODES, IQ4_LEVELS
from mlexport.quantize.blocks import block_rows, int8_rows
from mlexport.quantize.ggml import GGML_TYPES, packer
from mlexport.quantize.graph_plan import GRAPH_SCHEMES
from mlexport.quantize.plan import BLOCKS
from mlexport.spec import Target
from mlexport.tensors import Float32

Codes = NDArray[np.int16]
# Shares of a block's largest number that the scale may stop at: beyond it numbers are cut off. Below .7 no block of
# the demo's matrices gained
_SHARES = np.linspace(0.7, 1.0, 13, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Levels of a matrix: number = zero + step × levels[code].

    Attributes:
        step, zero: float32 [rows, columns].
        levels: float32 [codes], ascending.
        fixed: int16 [rows, columns]: the code that a number must have, so that the format's kernel finds the same
            scale again; -1 where any will do.
        pack: codes int16 [rows, columns] -> what the exporter is given: bytes of the file (GGUF), uint8
            [rows, bytes of a row], or numbers that its kernel stores without error, float32 [rows, columns].
    """

    step: Float32
    zero: Float32
    levels: Float32
    fixed: Codes
    pack: Callable[[Codes], NDArray[np.uint8] | Float32]

    def values(self, codes: Codes) -> Float32:
        """The numbers of codes, float32 [rows, columns]."""
        found: Float32 = self.zero + self.step * self.levels[codes]
        return found

    def nearest(self, rows: Float32) -> Codes:
        """Codes of the levels nearest to float32 [rows, columns], each number by itself."""
        columns = self.columns(np.arange(rows.shape[1]))
        return np.stack([columns.nearest(place, rows[:, place])[0] for place in range(rows.shape[1])], axis=1)

    def columns(self, order: NDArray[np.intp]) -> ColumnGrid:
        """The same a column at a time, in an order."""
        inverse = np.divide(1, self.step, out=np.zeros_like(self.step), where=self.step != 0)
        parts = (np.ascontiguousarray(part[:, order].T) for part in (self.step, inverse, self.zero, self.fixed))
        step, inverse, zero, fixed = parts
        return ColumnGrid(step=step, inverse=inverse, zero=zero, fixed=fixed, levels=self.levels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnGrid:
    """A grid transposed, [columns, rows]: what belongs to a column lies in one piece."""

    step: Float32
    inverse: Float32
    zero: Float32
    fixed: Codes
    levels: Float32

    def nearest(self, place: int, numbers: Float32) -> tuple[Codes, Float32]:
        """Codes and values of the levels nearest to a column's numbers, int16 and float32 [rows]."""
        scaled = (numbers - self.zero[place]) * self.inverse[place]
        if len(self.levels) == self.levels[-1] - self.levels[0] + 1:
            codes = np.clip(np.rint(scaled - self.levels[0]), 0, len(self.levels) - 1).astype(np.int16)
        else:
            codes = np.searchsorted((self.levels[1:] + self.levels[:-1]) / 2, scaled).astype(np.int16)
        fixed = self.fixed[place]
        codes = np.where(fixed >= 0, fixed, codes)
        return codes, self.zero[place] + self.step[place] * self.levels[codes]


def grid(target: Target, scheme: str, rows: Float32, weights: Float32) -> Grid | None:
    """The grid that a target's kernel makes for a matrix; None for schemes that round each number by itself (f16 …).

    Args:
        rows: float32 [rows, columns].
        weights: how much an error in each column counts, float32 [columns], above 0: mean squares of the inputs.
    """
    if target is Target.GGUF:
        return _ggml(scheme, rows, weights) if scheme in CODES else None
    if scheme not in GRAPH_SCHEMES:
        return None
    kind = GRAPH_SCHEMES[scheme]
    half = target is Target.OPENVINO
    if kind.block is None:
        return _row_grid(rows, half=half)
    return _block_grid(rows, weights, kind.bits, kind.block, half=half)


def importance(moments: NDArray[np.float64]) -> Float32:
    """llama.cpp's importance of each column: its mean square (or any multiple of it), above 0; float32 [columns]."""
    diagonal = np.diag(moments)
    found: Float32 = np.maximum(diagonal, diagonal.mean() * 1e-4 + 1e-30).astype(np.float32)
    return found


def _row_grid(rows: Float32, *, half: bool) -> Grid:
    stored, scales = int8_rows(rows)
    scales = _rounded(scales, half=half)[:, None]
    extreme = np.abs(stored) == 127
    codes = stored.astype(np.int16) + 127
    step = np.broadcast_to(scales, rows.shape)
    levels = np.arange(-127, 128, dtype=np.float32)
    fixed = np.where(extreme, codes, -1).astype(np.int16)
    zero = np.zeros_like(rows)
    return Grid(step=step, zero=zero, levels=levels, fixed=fixed, pack=lambda found: step * levels[found])


def _rounded(scales: Float32, *, half: bool) -> Float32:
    """As the file keeps them."""
    return scales.astype(np.float16).astype(np.float32) if half else scales


def _block_grid(rows: Float32, weights: Float32, bits: int, block: int, *, half: bool) -> Grid:
    """Blocks whose scale is chosen by weighted error; the number of largest magnitude keeps the lowest level.

    That is the rule by which `block_rows` finds the scale: with that code in each block it finds the same again.
    """
    count, columns = rows.shape
    middle = 1 << (bits - 1)
    _, largest = block_rows(rows, bits, block)
    blocks = largest.shape[1]
    padding = ((0, 0), (0, blocks * block - columns))
    grouped = np.pad(rows, padding).reshape(count, blocks, block)
    weighted = np.pad(weights[None], padding).reshape(1, blocks, block)
    best, scales = np.full(largest.shape, np.inf, dtype=np.float32), largest
    for share in _SHARES if bits == 4 else _SHARES[-1:]:
        tried = _rounded(largest * share, half=half)
        inverse = np.divide(1, tried, out=np.zeros_like(tried), where=tried != 0)[:, :, None]
        restored = np.clip(np.rint(grouped * inverse), -middle, middle - 1) * tried[:, :, None]
        error = (weighted * (grouped - restored) ** 2).sum(axis=2)
        better = error < best
        best, scales = np.where(better, error, best), np.where(better, tried, scales)
    fixed = np.full(grouped.shape, -1, dtype=np.int16)
    np.put_along_axis(fixed, np.abs(grouped).argmax(axis=2)[:, :, None], 0, axis=2)
    step = np.repeat(scales, block, axis=1)[:, :columns]
    levels = np.arange(-middle, middle, dtype=np.float32)
    return Grid(
        step=step,
        zero=np.zeros_like(rows),
        levels=levels,
        fixed=fixed.reshape(count, -1)[:, :columns],
        pack=lambda found: step * levels[found],
    )


def _ggml(scheme: str, rows: Float32, weights: Float32) -> Grid:
    """Scales by llama.cpp's kernel with the weights as its importance matrix; codes are put between them."""
    from gguf import GGMLQuantizationType, dequantize  # noqa: PLC0415

    count = rows.shape[0]
    numbers, size = BLOCKS[scheme]
    packed = packer(scheme, weights)(rows).reshape(-1, size)
    put = CODES[scheme]
    kind = GGMLQuantizationType(GGML_TYPES[scheme])

    def with_codes(codes: Codes) -> NDArray[np.uint8]:
        return put(packed.copy(), codes.reshape(-1, numbers)).reshape(count, -1)

    def restored(code: int) -> Float32:
        found: Float32 = dequantize(with_codes(np.full(rows.shape, code, dtype=np.int16)), kind)
        return found.reshape(rows.shape)

    levels = IQ4_LEVELS if scheme.startswith("iq4") else np.arange(_CODE_COUNTS[scheme], dtype=np.float32)
    low, high = restored(0), restored(len(levels) - 1)
    step = (high - low) / (levels[-1] - levels[0])
    zero = low - step * levels[0]
    fixed = np.full(rows.shape, -1, dtype=np.int16)
    return Grid(step=step, zero=zero, levels=levels, fixed=fixed, pack=with_codes)


_CODE_COUNTS = {"q8_0": 256, "q6_k": 64, "q5_k": 32, "q5_1": 32, "q5_0": 32, "q4_k": 16, "q4_1": 16, "q4_0": 16}
