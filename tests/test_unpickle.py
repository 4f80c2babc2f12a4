"""Pickles that crash Python's unpickler, make it take all memory, name what a tensor needs not, or make no sense."""

from __future__ import annotations

import struct

import pytest

from mlexport.unpickle import PickledTensor, RefusedError, describe_tensor

REBUILD = b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n"
# Opcodes of (2, 2), (2, 1), and of a number above 2**64
TWO, STEPS, HUGE = b"K\2K\2\x86", b"K\2K\1\x86", b"\x8a\x09" + b"\x7f" * 9
NESTED = b")" + b"\x85" * 900_000

NONSENSE = "is damaged: its pickle cannot be read. Download it again"
NO_TENSOR = "does not hold one tensor. Save it with torch.save(tensor, path)"


def needless(opcode: str) -> str:
    return f"has a pickle with {opcode}, which a tensor needs not. Do not trust this checkpoint"


def tensor_pickle(*, key: bytes = b"0", offset: bytes = b"K\0", shape: bytes = TWO, strides: bytes = STEPS) -> bytes:
    """torch's pickle of a 2 × 2 float32 matrix, each part in opcodes."""
    text = b"X" + struct.pack("<I", len(key)) + key
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\n" + text + b"X\3\0\0\0cpuK\4tQ"
    return REBUILD + b"(" + storage + offset + shape + strides + b"\x89ccollections\nOrderedDict\n)RtR."


def test_the_pickle_that_the_others_spoil() -> None:
    """test_pickles.py reads files with it, against torch."""
    expected = PickledTensor(stored="f32", key="0", offset=0, shape=(2, 2), stride=(2, 1))
    assert describe_tensor(tensor_pickle()) == expected


PICKLES: dict[str, tuple[bytes, str]] = {
    "deep tuple": (b"\x80\2" + NESTED + b".", NO_TENSOR),
    "deep tuple as a key": (b"\x80\2}" + NESTED + b"Ns.", NONSENSE),
    "deep tuple as an offset": (tensor_pickle(offset=NESTED), NONSENSE),
    "memo of 2**32": (b"\x80\2Nr\xff\xff\xff\xff.", NO_TENSOR),
    "8 GB of bytes": (b"\x80\5\x96" + struct.pack("<Q", 2**33) + b".", NONSENSE),
    "frame of 2**62": (b"\x80\5\x95" + struct.pack("<Q", 2**62) + b"N.", NO_TENSOR),
    "state of a function": (REBUILD + b"}X\1\0\0\0aNsb.", needless("BUILD")),
    "state of a class": (b"\x80\2ccollections\nOrderedDict\nN}X\1\0\0\0aNs\x86b.", needless("BUILD")),
    "object": (b"\x80\2ccollections\nOrderedDict\n)\x81.", needless("NEWOBJ")),
    "call of a storage": (b"\x80\2ctorch\nFloatStorage\n)R.", NONSENSE),
    "name": (b"\x80\2cos\nsystem\n.", "names os.system, which a tensor needs not: nothing of it was run"),
    "name without its module": (b"\x80\2ctorch._utils\n_rebuild_tensor\n.", "names torch._utils._rebuild_tensor, "),
    "name of two lines": (b"\x80\4\x8c\5os\nxx\x8c\6system\x93.", "names os xx.system, which a tensor needs not"),
    "name that is no text": (b"\x80\4NN\x93.", NONSENSE),
    "name of half a character": (b"\x80\4\x8c\3\xed\xa0\x80\x8c\1x\x93.", "names \\ud800.x, which a tensor needs not"),
    "storage that is no tuple": (b"\x80\2NQ.", NONSENSE),
    "shape without strides": (tensor_pickle(strides=b")"), NONSENSE),
    "shape that is no tuple": (tensor_pickle(shape=b"K\2"), NONSENSE),
    "shape of truth": (tensor_pickle(shape=b"\x88\x88\x86"), NONSENSE),
    "negative offset": (tensor_pickle(offset=b"J\xff\xff\xff\xff"), NONSENSE),
    "dict in itself": (b"\x80\2}q\0X\1\0\0\0ah\0s.", NO_TENSOR),
    "empty": (b"", NONSENSE),
    "no end": (b"\x80\2N", NONSENSE),
    "nothing on the stack": (b"\x80\2.", NONSENSE),
    "no mark": (b"\x80\2t.", NONSENSE),
    "unknown memo": (b"\x80\2h\1.", NONSENSE),
}


@pytest.mark.parametrize("name", PICKLES)
def test_refused_in_one_line(name: str) -> None:
    data, message = PICKLES[name]
    with pytest.raises(RefusedError) as error:
        describe_tensor(data)
    assert str(error.value).startswith(message)
    assert str(error.value).isprintable()
    assert str(error.value).isascii()
