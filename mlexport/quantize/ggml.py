"""Block quantisation by llama.cpp's own kernels, called in the library that llama-cpp-python brings.

`llama_model_quantize` runs the same function over a whole file; here it gets a block of rows at a time, so that
no second file and no whole tensor is needed. A test compares the two bit for bit.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from mlexport.errors import MissingExtraError, missing_extra
from mlexport.quantize.plan import BLOCKS
from mlexport.tensors import Float32, LazyTensor

# enum ggml_type of ggml.h
GGML_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "q4_k": 12,
    "q5_k": 13,
    "q6_k": 14,
    "iq4_nl": 20,
    "iq4_xs": 23,
    "bf16": 30,
}
_LIBRARY = {"win32": "ggml-base.dll", "darwin": "libggml-base.dylib"}.get(sys.platform, "libggml-base.so")
# Rows in one call of a kernel: large enough to outweigh the call, small enough to stay in the cache
_BLOCK_BYTES = 4 * 2**20

Bytes = NDArray[np.uint8]


def packed(tensor: LazyTensor, scheme: str) -> Iterator[Bytes]:
    """The tensor's rows packed in a scheme, in order, as uint8 blocks.

    Reading stays in the calling thread; kernels of several blocks run at once, for they release the interpreter.
    At most one block a core and one more is held.

    Raises:
        MissingExtraError: llama-cpp-python is not installed.
        CheckpointError: a row cannot be read or is not finite.
    """
    if tensor.packed is not None:
        yield from tensor.packed()
        return
    pack = packer(scheme)
    workers = os.cpu_count() or 1
    blocks = tensor.blocks(_BLOCK_BYTES)
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[Bytes]] = [pool.submit(pack, block) for block in islice(blocks, workers)]
        while waiting:
            done = waiting.pop(0).result()
            waiting.extend(pool.submit(pack, block) for block in islice(blocks, 1))
            yield done


def packer(scheme: str, weights: Float32 | None = None) -> Callable[[Float32], Bytes]:
    """The function that packs float32 [rows, columns] (or [numbers]) into uint8 bytes of a scheme.

    Args:
        weights: llama.cpp's importance matrix: how much an error in each column counts, float32 [columns].
    """
    plain: dict[str, Any] = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}
    if scheme in plain:
        return lambda rows: np.ascontiguousarray(rows, dtype=plain[scheme]).view(np.uint8).reshape(-1)
    kernel = _kernel()
    number = GGML_TYPES[scheme]
    block, size = BLOCKS[scheme]
    importance = None if weights is None else np.ascontiguousarray(weights, dtype=np.float32)
    pointer = None if importance is None else importance.ctypes.data

    def quantise(rows: Float32) -> Bytes:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        out = np.empty(rows.size // block * size, dtype=np.uint8)
        kernel(number, rows.ctypes.data, out.ctypes.data, 0, rows.shape[0], rows.shape[1], pointer)
        return out

    return quantise


@cache
def _kernel() -> Any:
    """ggml_quantize_chunk(type, source, destination, first number, rows, columns, importance matrix) -> bytes."""
    spec = find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise missing_extra("llama_cpp", "gguf", "quantising for target gguf")
    path = Path(spec.origin).parent / "lib" / _LIBRARY
    try:
        function = ctypes.CDLL(str(path)).ggml_quantize_chunk
    except (OSError, AttributeError) as error:
        raise MissingExtraError(
            f"quantising for target gguf needs {path.name} of llama-cpp-python, which cannot be loaded "
            f'({error}): pip install --force-reinstall "mlexport[gguf]"'
        ) from None
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
    function.restype = ctypes.c_size_t
    return function
