"""Kernels for integer weights: rows as int8, rows as blocks of 8 or 4 bits, in ONNX Runtime's layouts.

Symmetric throughout: value = scale × (stored - middle), with middle 0 (int8), 128 (8-bit blocks) or 8 (4-bit blocks).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlexport.tensors import Float32


def int8_rows(rows: Float32) -> tuple[NDArray[np.int8], Float32]:
    """int8 [rows, columns] and one scale a row, float32 [rows]; -128 is not used.

    The same as onnxruntime.quantization's symmetric per-channel weights.
    """
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8), scales


def block_rows(rows: Float32, bits: int, block: int) -> tuple[NDArray[np.uint8], Float32]:
    """Blocks of `block` numbers of a row with one scale each, as MatMulNBits and GatherBlockQuantized read them.

    The number of largest magnitude of a block is stored without error, as the lowest level (-8 or -128): the scale
    takes its sign. This is the rule of ONNX Runtime's own quantiser (MlasQuantizeBlockwise, symmetric).

    Args:
        rows: float32 [rows, columns]; columns are padded with zeros to whole blocks.
        bits: 4 or 8.

    Returns:
        uint8 [rows, blocks, block × bits / 8], for 4 bits the even number in the low half of a byte; and scales,
        float32 [rows, blocks].
    """
    count, columns = rows.shape
    blocks = -(-columns // block)
    if columns != blocks * block:
        rows = np.pad(rows, ((0, 0), (0, blocks * block - columns)))
    grouped = rows.reshape(count, blocks, block)
    middle = 1 << (bits - 1)
    extreme = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=2)[:, :, None], axis=2)
    scales = extreme / np.float32(-middle)
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    stored = np.clip(np.floor(grouped * inverse + np.float32(middle + 0.5)), 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        stored = stored[:, :, 0::2] | stored[:, :, 1::2] << 4
    return stored, scales[:, :, 0]


def restored_rows(stored: NDArray[np.uint8], scales: Float32, bits: int, columns: int) -> Float32:
    """What `block_rows` packed, as float32 [rows, columns]."""
    rows, blocks = scales.shape
    if bits == 4:
        stored = np.stack((stored & 15, stored >> 4), axis=-1).reshape(rows, blocks, -1)
    values = (stored.astype(np.float32) - (1 << (bits - 1))) * scales[:, :, None]
    restored: Float32 = values.reshape(rows, -1)[:, :columns]
    return restored


def row_errors(rows: Float32, restored: Float32) -> Float32:
    """|restored - row| / |row| of each row, float32 [rows]; 0 for a row of zeros."""
    sizes = np.linalg.norm(rows, axis=1)
    errors: Float32 = np.linalg.norm(rows - restored, axis=1)
    ratio: Float32 = np.divide(errors, sizes, out=np.zeros_like(errors), where=sizes > 0)
    return ratio
