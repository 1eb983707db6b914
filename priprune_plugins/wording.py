"""The words of errors: what was given, what is allowed, what was probably meant."""

import json
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_MAX_SHOWN = 60
_LONGEST_GUESS = 80
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
    None: "null",
}


def shown(value: object) -> str:
    """Return a value as YAML would show it: one line, printable, at most 60 characters."""
    if value is None:
        return "null"
    if isinstance(value, str):
        text = repr(value[: _MAX_SHOWN + 1])
    else:
        text = json.dumps(value, default=repr) if isinstance(value, bool | list | tuple | Mapping) else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def guess(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?``, or nothing where no known word is close."""
    if len(word) > _LONGEST_GUESS:
        return ""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown_key(at: str, kind: str, key: str, known: Sequence[str]) -> str:
    """Return the whole line about a key that nobody knows.

    Args:
        at: ``file:line: path`` of the key.
        kind: Whose key it would be, for instance ``pruner snip``.
        key: The key.
        known: All keys that there are.
    """
    there = f"{kind} takes {', '.join(sorted(known))}" if known else f"{kind} has no options"
    separator = "" if (meant := guess(key, known)) else ";"
    return f"{at} is unknown{meant}{separator} {there}"


def requirement(hint: Any, value: object) -> str:
    """Return what a value of type ``hint`` must be, shortened where ``value`` is right but for its size."""
    parts = [part for part in get_args(hint) if part is not type(None)]
    if get_origin(hint) in (Union, types.UnionType) and len(parts) == 1:
        short = requirement(parts[0], value)
        return short if short != allowed(parts[0]) else allowed(hint)
    base, bounds = _unwrapped(hint)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if bounds and number and (base is float or (base is int and isinstance(value, int))):
        return bounds
    return allowed(hint)


def allowed(hint: Any) -> str:
    """Return a type in a user's words: ``a number in [0, 1)``, ``samples or uniform``, ``a list of whole numbers``."""
    base, bounds = _unwrapped(hint)
    origin, arguments = get_origin(base), get_args(base)
    if origin is Literal:
        return " or ".join(["null" if choice is None else str(choice) for choice in arguments])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(allowed(part) for part in arguments))
    if base in _WORDS:
        return f"{_WORDS[base]} {'of ' if bounds.startswith('at') else ''}{bounds}".rstrip()
    kind = origin or base
    if is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, Mapping)):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, Sequence | set | frozenset):
        return _list(arguments)
    return getattr(base, "__name__", str(base))


def choices(hint: Any) -> list[str]:
    """Return the texts that a type allows, of all its literals."""
    base, _ = _unwrapped(hint)
    if get_origin(base) is Literal:
        return [choice for choice in get_args(base) if isinstance(choice, str)]
    return [choice for part in get_args(base) for choice in choices(part)]


def _list(arguments: tuple[Any, ...]) -> str:
    items = [argument for argument in arguments if argument is not Ellipsis]
    if len(items) == 1:
        return f"a list, each {allowed(items[0])}"
    return f"a list of {len(items)} values" if items else "a list"


def _unwrapped(hint: Any) -> tuple[Any, str]:
    """Return the type under ``Annotated`` and its bounds in words."""
    if get_origin(hint) is not Annotated:
        return hint, ""
    base, *notes = get_args(hint)
    # pydantic's Field keeps annotated_types' Ge, Gt, Le and Lt in a list of its own.
    flat = [part for note in notes for part in (getattr(note, "metadata", None) or [note])]
    limits = {name: getattr(part, name) for part in flat for name in ("ge", "gt", "le", "lt") if hasattr(part, name)}
    return base, _bounds({name: limit for name, limit in limits.items() if limit is not None})


def _bounds(limits: Mapping[str, Any]) -> str:
    lower = next((name for name in ("ge", "gt") if name in limits), None)
    upper = next((name for name in ("le", "lt") if name in limits), None)
    if lower and upper:
        opening, closing = "[" if lower == "ge" else "(", "]" if upper == "le" else ")"
        return f"in {opening}{limits[lower]}, {limits[upper]}{closing}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    only = lower or upper
    return f"{words[only]} {limits[only]}" if only else ""


def cause(error: Exception) -> str:
    """Return an error that somebody else's code raised, in one line: its type and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
