"""What a Google docstring says of each argument; the schema shows it in an editor."""

import inspect
import re

_ARGUMENT = re.compile(r"    (\w+): (.*)")
_CONTINUED = " " * 8


def argument_docs(cls: type) -> dict[str, str]:
    """Return ``{argument: description}`` from the ``Args:`` of a class and the classes that it inherits from."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs |= _own(inspect.cleandoc(vars(base).get("__doc__") or ""))
    return docs


def _own(text: str) -> dict[str, str]:
    docs: dict[str, str] = {}
    name = None
    lines = iter(text.splitlines())
    for line in lines:
        if line == "Args:":
            break
    for line in lines:
        if line and not line.startswith(" "):
            break
        if line.startswith(_CONTINUED) and name:
            docs[name] += " " + line.strip()
        elif match := _ARGUMENT.fullmatch(line):
            name, docs[match[1]] = match[1], match[2]
    return docs


def summary_line(cls: type) -> str:
    """Return the first line of a class's own docstring, or nothing."""
    return inspect.cleandoc(vars(cls).get("__doc__") or "").partition("\n")[0]
