"""The tensor that a pickle describes, without running what the pickle names.

A pickle may name any function of any module, and Python's unpickler can be made to crash, or to take all memory,
before it names one. So it is not used: the few opcodes of a saved tensor are read here as data, and everything else
is an error.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass

# storage class of torch -> our name
STORAGES = {"torch.BFloat16Storage": "bf16", "torch.HalfStorage": "f16", "torch.FloatStorage": "f32"}
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_DICT = "collections.OrderedDict"

# Opcodes by what they do; torch writes protocol 2 unless it is told another
_PUSH_ARGUMENT = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
_PUSH_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GET = {"BINGET", "LONG_BINGET"}
_NOTHING = {"PROTO", "FRAME", "STOP"}
_MARK = object()


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in a pickle; one of the known ones, and never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """Numbers in the archive: entry `data/<key>`, stored "bf16", "f16" or "f32"."""

    stored: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PickledTensor:
    """A view on the numbers of a storage; what a pickle says, so nothing of it is sure to fit the archive.

    Attributes:
        stored: "bf16", "f16" or "f32".
        key: the numbers lie in the archive's entry `data/<key>`.
        offset, shape, stride: in numbers, none negative; as many strides as axes.
    """

    stored: str
    key: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class RefusedError(Exception):
    """Why a pickle is not read: the part of a message after the file's path."""


def describe_tensor(data: bytes) -> PickledTensor:
    """The one tensor that a pickle of `torch.save` describes, alone or as the only value of a dict.

    Raises:
        RefusedError: it is damaged, describes something else, or names more than a tensor needs.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        found = machine.stack.pop()
    except (ValueError, IndexError, KeyError):
        raise RefusedError("is damaged: its pickle cannot be read. Download it again") from None
    if isinstance(found, dict) and len(found) == 1:
        [found] = found.values()
    if not isinstance(found, PickledTensor):
        raise RefusedError("does not hold one tensor. Save it with torch.save(tensor, path)")
    return found


class _Machine:
    """A pickle machine with the opcodes of a saved tensor, none of which calls anything.

    What it makes is only held: of a value from the pickle nothing but text is hashed, and no tuple is walked, or one
    nested deep enough would overflow the stack. ValueError, IndexError and KeyError mean a pickle without sense.
    """

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[object, object] = {}

    def step(self, opcode: str, argument: object) -> None:
        """Do one opcode."""
        if opcode in _PUSH_ARGUMENT:
            self.stack.append(argument)
        elif opcode in _PUSH_CONSTANT:
            self.stack.append(_PUSH_CONSTANT[opcode])
        elif opcode == "EMPTY_DICT":
            self.stack.append({})
        elif opcode == "MARK":
            self.stack.append(_MARK)
        elif opcode == "TUPLE":
            self.stack.append(tuple(self._to_mark()))
        elif opcode in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[opcode])))
        elif opcode in _PUT:
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif opcode in _GET:
            self.stack.append(self.memo[argument])
        elif opcode not in _NOTHING:
            self._build(opcode, argument)

    def _build(self, opcode: str, argument: object) -> None:
        """The opcodes that make more than plain values."""
        if opcode == "GLOBAL":
            # Module and name, without a space in either
            self.stack.append(_named(str(argument).replace(" ", ".", 1)))
        elif opcode == "STACK_GLOBAL":
            self.stack.append(_named(".".join(map(_text, self._pop(2)))))
        elif opcode == "BINPERSID":
            self.stack.append(_storage(self.stack.pop()))
        elif opcode == "REDUCE":
            self.stack.append(_rebuild(*self._pop(2)))
        elif opcode == "SETITEM":
            self._set(self._pop(2))
        elif opcode == "SETITEMS":
            self._set(self._to_mark())
        elif opcode == "BUILD" and isinstance(self.stack[-2], dict):
            # The notes that torch adds to a state dict
            self.stack.pop()
        else:
            raise RefusedError(f"has a pickle with {opcode}, which a tensor needs not. Do not trust this checkpoint")

    def _set(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError
        target.update(zip(map(_text, items[::2]), items[1::2], strict=True))

    def _pop(self, count: int) -> list[object]:
        if len(self.stack) < count:
            raise IndexError
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _to_mark(self) -> list[object]:
        values: list[object] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _named(name: str) -> _Name:
    """A name that a tensor needs."""
    if name in STORAGES or name in (_TENSOR, _PARAMETER, _DICT):
        return _Name(name)
    if name.startswith("torch.") and name.endswith("Storage"):
        known = ", ".join(STORAGES.values())
        raise RefusedError(f"holds a {shown(name)}, expected numbers in {known}")
    raise RefusedError(
        f"names {shown(name)}, which a tensor needs not: nothing of it was run. Do not trust this checkpoint"
    )


def _storage(identifier: object) -> _Storage:
    match identifier:
        case ("storage", _Name(name), str(key), str(), int()) if name in STORAGES:
            return _Storage(STORAGES[name], key)
    raise ValueError


def _rebuild(function: object, arguments: object) -> object:
    """What the call would give: an empty dict, the tensor of a parameter, or a tensor."""
    match function, arguments:
        case _Name(name), () if name == _DICT:
            return {}
        case _Name(name), (PickledTensor() as tensor, bool(), dict()) if name == _PARAMETER:
            return tensor
        case _Name(name), (_Storage() as storage, offset, shape, stride, bool(), dict()) if name == _TENSOR:
            [start], sizes, steps = _counts((offset,)), _counts(shape), _counts(stride)
            if len(sizes) == len(steps):
                return PickledTensor(stored=storage.stored, key=storage.key, offset=start, shape=sizes, stride=steps)
    raise ValueError


def _counts(values: object) -> tuple[int, ...]:
    """A tuple of whole numbers, none negative."""
    if not isinstance(values, tuple) or not all(type(value) is int and value >= 0 for value in values):
        raise ValueError
    return values


def shown(text: str) -> str:
    """Text of a foreign file as it may stand in a one-line message."""
    return ascii(" ".join(text.split()))[1:-1][:100]
