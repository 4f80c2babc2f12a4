"""Plain data as dataclasses, strictly by their annotations."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints


def read_object(path: Path, limit_bytes: int, what: str) -> dict[str, Any]:
    """The JSON object of a file. Raises ValueError with a line that names the file; `what` is what it should be."""
    try:
        size = path.stat().st_size
        data = json.loads(path.read_text(encoding="utf-8")) if size <= limit_bytes else None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {' '.join(str(error).split())}") from None
    if size > limit_bytes:
        raise ValueError(f"{path} is {size} bytes long: not {what}")
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not a JSON object")
    return data


def decode(hint: Any, value: object, where: str) -> object:
    """The value as the annotation `hint` says, strictly: no key unknown, none missing, no type converted.

    A key that came later has a default, which stands for it in what was written before.

    `where` is the path inside the manifest. Raises ValueError with a line that names it.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _fields(hint, value, where)
    if origin in (types.UnionType, Union):
        chosen = type(None) if value is None else next(a for a in arguments if a is not type(None))
        return decode(chosen, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {key: decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and type(value) is int:
        value = float(value)
    # bool is an int to isinstance, but not in a manifest
    if hint is object or type(value) is hint:
        return value
    wanted = {tuple: "list", Mapping: "object"}.get(origin, getattr(hint, "__name__", str(hint)))
    raise ValueError(f"'{where}' is {type(value).__name__}, expected {wanted}")


def _fields(cls: Any, value: object, where: str) -> object:
    prefix = f"{where}." if where else ""
    if not isinstance(value, Mapping):
        raise ValueError(f"'{where}' is {type(value).__name__}, expected object")
    names = [field.name for field in fields(cls)]
    unknown = sorted(set(value) - set(names))
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in value]
    if unknown or missing:
        wrong = f"unknown key '{prefix}{unknown[0]}'" if unknown else f"missing key '{prefix}{missing[0]}'"
        raise ValueError(f"{wrong}: not written by this version of mlexport")
    hints = get_type_hints(cls)
    return cls(**{name: decode(hints[name], value[name], f"{prefix}{name}") for name in names if name in value})
