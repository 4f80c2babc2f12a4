"""YAML that people write: read safely, checked against a model, every error at once with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mlexport.errors import DocumentError
from mlexport.mistakes import Place, Problem, dotted_name, explained, mended

# A profile or a recipe has some hundred lines; anything larger is not one
_LIMIT_BYTES = 2**20
_DEEPEST = 20
_TWICE = "is there twice"
_TOO_DEEP = f"nested more than {_DEEPEST} deep"

Model = TypeVar("Model", bound=BaseModel)


def read_document(
    path: Path,
    model: type[Model],
    change: Mapping[str, object] | None = None,
    check: Callable[[Model], Iterable[Problem]] | None = None,
) -> Model:
    """The file as an instance of `model`.

    Args:
        change: dotted key -> value put in its place before the check ("cut.layers": 4).
        check: finds what the types cannot; asked about the sound part of a file too where its types are wrong.

    Raises:
        DocumentError: no file, no YAML, or keys and values that the model does not know: all of them, a line each.
    """
    text = _text(path)
    node = _compose(text, path)
    if not isinstance(node, yaml.MappingNode):
        raise DocumentError(path, [_at(1, "expected keys and values at the top")])
    shape: list[tuple[int, str]] = []
    lines: dict[Place, int] = {}
    _walk(node, (), lines, shape, set())
    if any(not what.endswith(_TWICE) for _, what in shape):
        raise DocumentError(path, [_at(line, what) for line, what in sorted(shape)])
    changed = change or {}
    found, problems = _validated(_with(_construct(node, path), changed), model, check)
    if found is None or problems or shape:
        raise _located(path, shape, problems, lines, [tuple(key.split(".")) for key in changed])
    return found


def _validated(
    data: dict[str, Any], model: type[Model], check: Callable[[Model], Iterable[Problem]] | None
) -> tuple[Model | None, list[Problem]]:
    try:
        found = model.model_validate(data)
        return found, [] if check is None else list(check(found))
    except ValidationError as error:
        problems = list(explained(error, model))
        rest = None if check is None else mended(data, error)
        if check is None or rest is None:
            return None, problems
        try:
            found = model.model_validate(rest)
        except ValidationError:
            return None, problems
        # What was cut out has its error already, and so have rules that speak of it
        wrong = [(place, dotted_name(place)) for place, _ in problems]
        for place, what in check(found):
            if not any(place[: len(cut)] == cut or name in what for cut, name in wrong):
                problems.append((place, what))
        return None, problems


def _located(
    path: Path,
    shape: Iterable[tuple[int, str]],
    problems: Iterable[Problem],
    lines: Mapping[Place, int],
    changed: Sequence[Place],
) -> DocumentError:
    """Each problem with its line, or with the option that it came from."""
    in_file, by_option = list(shape), list[str]()
    for place, what in problems:
        key = next((key for key in changed if place[: len(key)] == key), None)
        if key is None:
            line = next((lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in lines), 1)
            in_file.append((line, what))
        else:
            name = dotted_name(key)
            repeated = f"'{name}': "
            by_option.append(f"--set {name}: {what.removeprefix(repeated)}")
    return DocumentError(path, [_at(line, what) for line, what in sorted(in_file)], by_option)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise DocumentError(path, [_at(1, f"{path.stat().st_size:,} bytes, limit {_LIMIT_BYTES:,}")])
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentError(path, [f" cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise DocumentError(path, [" cannot be read: not UTF-8"]) from None


def _compose(text: str, path: Path) -> yaml.Node | None:
    try:
        # libyaml where PyYAML has it: ten times as fast
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        pass
    # Once more without it: what is said about an error should not depend on how PyYAML was built
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise DocumentError(path, [_marked(error)]) from None
    except yaml.YAMLError as error:
        raise DocumentError(path, [_at(1, " ".join(str(error).split())[:200])]) from None
    except RecursionError:
        raise DocumentError(path, [_at(1, _TOO_DEEP)]) from None


def _marked(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    what = error.problem or "not YAML"
    if what.startswith("but ") and error.context:
        what = f"{error.context}, {what}"
    return _at(mark.line + 1 if mark else 1, what)


def _construct(node: yaml.MappingNode, path: Path) -> dict[str, Any]:
    try:
        data = yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        # A tag that is not known
        raise DocumentError(path, [_marked(error)]) from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        # A date that YAML reads as such, and that is none
        raise DocumentError(path, [_at(1, " ".join(str(error).split())[:200])]) from None
    assert isinstance(data, dict)
    return data


def _walk(
    node: yaml.Node, place: Place, lines: dict[Place, int], problems: list[tuple[int, str]], seen: set[int]
) -> None:
    """Note the line of every key and item; find what YAML allows and these files do not."""
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if len(place) > _DEEPEST:
        problems.append((line, _TOO_DEEP))
        return
    if id(node) in seen:
        # Anchors can make a small file a large document
        problems.append((line, "anchors and aliases (&name, *name) are not read: write the value out"))
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        return
    for key, child in _children(node):
        if isinstance(key, yaml.Node):
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            if (*place, name) in lines:
                problems.append((key.start_mark.line + 1, f"'{dotted_name((*place, name))}' {_TWICE}"))
            lines[*place, name] = key.start_mark.line + 1
            _walk(child, (*place, name), lines, problems, seen)
        else:
            _walk(child, (*place, key), lines, problems, seen)


def _children(node: yaml.Node) -> Iterator[tuple[yaml.Node | int, yaml.Node]]:
    return iter(node.value) if isinstance(node, yaml.MappingNode) else enumerate(node.value)


def _with(data: dict[str, Any], change: Mapping[str, object]) -> dict[str, Any]:
    for dotted, value in change.items():
        *above, last = dotted.split(".")
        inner = data
        for name in above:
            found = inner.setdefault(name, {})
            if not isinstance(found, dict):
                found = inner[name] = {}
            inner = found
        inner[last] = value
    return data


def _at(line: int, what: str) -> str:
    return f"{line}: {what}"
