"""Codes put into llama.cpp's blocks, between the scales that its kernels chose.

Layouts: block_q4_0 … block_iq4_xs of ggml-common.h; where each number's bits lie is read off the dequantize_row
functions of ggml-quants.c. A test puts random codes in and takes gguf-py's `dequantize` for the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mlexport.tensors import Float32

Bytes = NDArray[np.uint8]
# kvalues_iq4nl of ggml-common.h
IQ4_LEVELS: Float32 = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32
)


def _halves(codes: Bytes, group: int) -> Bytes:
    """Nibbles, uint8 [blocks, numbers / 2]: of each `group` numbers the second half lies above the first."""
    pairs = codes.reshape(len(codes), -1, 2, group // 2)
    nibbles: Bytes = np.bitwise_or(pairs[:, :, 0], np.left_shift(pairs[:, :, 1], 4, dtype=np.uint8))
    return nibbles.reshape(len(codes), -1)


def _nibbles(start: int, group: int) -> Callable[[Bytes, NDArray[np.int16]], Bytes]:
    def put(blocks: Bytes, codes: NDArray[np.int16]) -> Bytes:
        blocks[:, start:] = _halves(codes.astype(np.uint8), group)
        return blocks

    return put


def _fifth_bit(start: int) -> Callable[[Bytes, NDArray[np.int16]], Bytes]:
    """q5_0 and q5_1: 32 high bits in a word, then nibbles."""

    def put(blocks: Bytes, codes: NDArray[np.int16]) -> Bytes:
        blocks[:, start : start + 4] = np.packbits(codes >> 4, axis=1, bitorder="little")
        blocks[:, start + 4 :] = _halves((codes & 15).astype(np.uint8), 32)
        return blocks

    return put


def _q8_0(blocks: Bytes, codes: NDArray[np.int16]) -> Bytes:
    blocks[:, 2:] = (codes - 128).astype(np.int8).view(np.uint8)
    return blocks


def _q5_k(blocks: Bytes, codes: NDArray[np.int16]) -> Bytes:
    # Byte l of the high bits has one bit of number l of each of the eight 32s
    high = (codes.reshape(-1, 8, 32) >> 4).astype(np.uint8)
    blocks[:, 16:48] = np.bitwise_or.reduce(high << np.arange(8, dtype=np.uint8)[None, :, None], axis=1)
    blocks[:, 48:] = _halves((codes & 15).astype(np.uint8), 64)
    return blocks


def _q6_k(blocks: Bytes, codes: NDArray[np.int16]) -> Bytes:
    # Halves of 128 numbers, each four 32s: the first and third share bytes, so do the second and fourth
    parts = codes.astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = parts & 15, parts >> 4
    blocks[:, :128] = (low[:, :, :2] | low[:, :, 2:] << 4).reshape(len(blocks), -1)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[None, None, :, None]
    blocks[:, 128:192] = np.bitwise_or.reduce(high << shifts, axis=2).reshape(len(blocks), -1)
    return blocks


# scheme -> (blocks uint8 [blocks, bytes], codes int16 [blocks, numbers]) -> the blocks with these codes
CODES: Mapping[str, Callable[[Bytes, NDArray[np.int16]], Bytes]] = {
    "q8_0": _q8_0,
    "q6_k": _q6_k,
    "q5_k": _q5_k,
    "q5_1": _fifth_bit(4),
    "q5_0": _fifth_bit(2),
    "q4_k": _nibbles(16, 64),
    "q4_1": _nibbles(4, 32),
    "q4_0": _nibbles(2, 32),
    "iq4_nl": _nibbles(2, 32),
    "iq4_xs": _nibbles(8, 32),
}
