"""What is wrong with data that a pydantic model refuses, in words: which key, what was found, what was near."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

# Keys and indices that lead to a value
Place = tuple[str | int, ...]
Problem = tuple[Place, str]
# difflib's ratio from which a name is taken for a slip of another
_NEAR = 0.7


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Every error of a validation, a sentence each."""
    found = error.errors(include_url=False)
    inside = {tuple(one["loc"][:-1]) for one in found}
    for one in found:
        # Of a key itself, pydantic's place ends so
        place = tuple(part for part in one["loc"] if part != "[key]")
        name = dotted_name(place)
        if one["type"] == "too_short" and place in inside:
            # A list is counted without its wrong items
            continue
        if one["type"] == "extra_forbidden":
            siblings = model_at(model, place[:-1])
            known = list(siblings.model_fields) if siblings else []
            yield place, f"unknown key '{name}'{near(str(place[-1]), known) or _list(known)}"
        elif one["type"] == "missing":
            yield place, f"missing key '{name}'"
        else:
            text = str(one["msg"]).removeprefix("Value error, ")
            # Pydantic's own messages say what was expected; what was found is only short for plain values
            found = one.get("input")
            told = one["type"] == "value_error" and repr(found) in text
            shown = f", got {found!r}" if isinstance(found, str | int | float | bool) and not told else ""
            if one["type"] == "literal_error":
                shown += near(str(found), re.findall(r"'([^']*)'", str(one["ctx"]["expected"])))
            yield place, f"'{name}': {text[:1].lower() + text[1:]}{shown}" if name else text


def _list(known: Sequence[str]) -> str:
    return f" (known: {', '.join(known)})" if known else ""


def near(name: str, known: Iterable[str]) -> str:
    """ ": did you mean 'x'?" where a known name is close, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=_NEAR)
    return f": did you mean '{found[0]}'?" if found else ""


def mended(data: dict[str, Any], error: ValidationError) -> dict[str, Any] | None:
    """The data without what is wrong, so that the rest can be checked; None where it cannot be cut out.

    A wrong item takes its list with it: the places of the others stay true. A missing text becomes "?".
    """
    rest = deepcopy(data)
    for one in error.errors(include_url=False):
        place = tuple(one["loc"])
        end = next((i for i, part in enumerate(place) if isinstance(part, int)), len(place))
        *above, last = place[:end] or ("",)
        inner: object = rest
        for part in above:
            inner = inner.get(str(part)) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            return None
        if one["type"] == "missing" and end == len(place):
            inner[str(last)] = "?"
        else:
            inner.pop(last, None)
    return rest


def model_at(model: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that the value at a place is an instance of; None where it is none."""
    found: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int) or found is None:
            continue
        if part in found.model_fields:
            found = _model_in(found.model_fields[part].annotation)
        # Else a key of a mapping, whose values are the model that was found for it
    return found


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def dotted_name(place: Sequence[str | int]) -> str:
    """A place as people write it: "grid.layers[2]"."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
