"""What a GGUF file has llama.cpp do, from its header: the format has tensors and no graph.

The graph is llama.cpp's own for the architecture qwen3 (src/models/qwen3.cpp): every layer on every token, and the
output head over the whole vocabulary for every token, whose result an embedder throws away (llama.cpp#24713).

The header is read here, not by gguf-py, which makes a Python object of every token and merge first (4 s for 16,384
tokens). Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from mlexport.errors import ArtifactError
from mlexport.estimate.work import Lookup, Product, Rows, Work, layer_attentions
from mlexport.quantize.ggml import GGML_TYPES
from mlexport.quantize.plan import BLOCKS
from mlexport.spec import Target

_TABLE, _HEAD = "token_embd.weight", "output.weight"
_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
_MAGIC, _VERSIONS = b"GGUF", (2, 3)
# enum gguf_metadata_value_type: struct's letter of each number, then string and array
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Longer names are not llama.cpp's
_LONGEST_NAME = 2**16
_SCHEMES = {number: scheme for scheme, number in GGML_TYPES.items()}

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """columns, outputs: as llama.cpp lists them."""

    columns: int
    outputs: int
    scheme: str

    @property
    def bytes(self) -> int:
        numbers, size = BLOCKS[self.scheme]
        return self.columns * self.outputs // numbers * size


def gguf_work(path: Path) -> Work:
    """What llama.cpp does with a text.

    Raises:
        ArtifactError: not a GGUF file, or of another architecture.
    """
    try:
        with path.open("rb") as file:
            fields, tensors = _header(file)
        kind = fields["general.architecture"]
        if kind != "qwen3":
            raise ArtifactError(f"{path} has architecture {kind!r}: operations are counted for qwen3")
        return _work(fields, tensors)
    except KeyError as error:
        raise ArtifactError(f"{path} cannot be read as GGUF: it lacks {error.args[0]!r}") from None
    except (OSError, ValueError, struct.error) as error:
        raise ArtifactError(f"{path} cannot be read as GGUF: {' '.join(str(error).split())[:160]}") from None


def _header(file: BinaryIO) -> tuple[Mapping[str, Scalar], Mapping[str, _Tensor]]:
    if file.read(4) != _MAGIC:
        raise ValueError("it does not start as GGUF does")
    version, tensors, fields = _numbers(file, "IQQ")
    if version not in _VERSIONS:
        raise ValueError(f"version {version}, this mlexport reads {_VERSIONS[0]} and {_VERSIONS[1]}")
    scalars: dict[str, Scalar] = {}
    for _ in range(int(fields)):
        name = _text(file)
        value = _value(file, *_numbers(file, "I"))
        if value is not None:
            scalars[name] = value
    return scalars, dict(_tensor(file) for _ in range(int(tensors)))


def _tensor(file: BinaryIO) -> tuple[str, _Tensor]:
    name = _text(file)
    [axes] = _numbers(file, "I")
    sizes = _numbers(file, "Q" * int(axes))
    kind, _ = _numbers(file, "IQ")
    scheme = _SCHEMES.get(int(kind), f"type {kind}")
    return name, _Tensor(columns=int(sizes[0]), outputs=int(prod(sizes[1:])), scheme=scheme)


def _value(file: BinaryIO, kind: int) -> Scalar | None:
    """A scalar; arrays are passed over."""
    if kind == _STRING:
        return _text(file, longest=2**24)
    if kind != _ARRAY:
        [number] = _numbers(file, _NUMBERS[kind])
        return number
    inner, count = _numbers(file, "IQ")
    if inner == _STRING:
        for _ in range(int(count)):
            [length] = _numbers(file, "Q")
            file.seek(int(length), 1)
    else:
        file.seek(struct.calcsize(_NUMBERS[int(inner)]) * int(count), 1)
    return None


def _text(file: BinaryIO, longest: int = _LONGEST_NAME) -> str:
    [length] = _numbers(file, "Q")
    if length > longest:
        raise ValueError(f"a text of {length} bytes at byte {file.tell()}")
    return file.read(int(length)).decode("utf-8")


def _numbers(file: BinaryIO, kinds: str) -> tuple[int, ...]:
    form = f"<{kinds}"
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _work(fields: Mapping[str, Scalar], tensors: Mapping[str, _Tensor]) -> Work:
    layers, heads, width = (
        int(fields[f"qwen3.{key}"]) for key in ("block_count", "attention.head_count", "attention.key_length")
    )
    names = [f"blk.{layer}.{matrix}.weight" for layer in range(layers) for matrix in _MATRICES]
    table = tensors[_TABLE]
    products = [_product(tensors[name], name, head=False) for name in names]
    # Without a head of its own the table is the head
    products.append(_product(tensors.get(_HEAD, table), _HEAD, head=True))
    row_bytes = table.bytes // table.outputs
    lookup = Lookup(name=_TABLE, scheme=table.scheme, bytes=row_bytes, table_bytes=table.bytes)
    return Work(
        target=Target.GGUF,
        products=tuple(products),
        attentions=layer_attentions(layers, heads, width, last=Rows.TOKEN),
        lookups=(lookup,),
        shape=None,
        operators=(),
        hidden=table.columns,
        vocabulary=table.outputs,
    )


def _product(tensor: _Tensor, name: str, *, head: bool) -> Product:
    return Product(
        name=name,
        scheme=tensor.scheme,
        rows=Rows.TOKEN,
        columns=tensor.columns,
        outputs=tensor.outputs,
        bytes=tensor.bytes,
        head=head,
    )
