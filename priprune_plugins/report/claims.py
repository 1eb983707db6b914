"""What the defences say of themselves, as the report's table has it: stated by them, not measured by an attack."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from priprune_plugins.report.numbers import NONE, short

_ASSUMES = "_assumes"


@dataclass(frozen=True)
class Claim:
    """One figure that a defence states.

    Args:
        entry: Name of its entry in the round's record.
        figure: Name of the figure in words, empty where the entry is the figure.
        value: As text.
        assumes: What the figure rests on, or why there is none; empty where nothing is said.
    """

    entry: str
    figure: str
    value: str
    assumes: str


def claims(summary: Mapping[str, Any]) -> list[Claim]:
    """Return the rows of the table, in the order that the defences gave them.

    A figure ``x_assumes`` is no row of its own but stands beside ``x``.

    Args:
        summary: ``summary.json``; its ``claims`` hold the last value of each entry.
    """
    entries = summary.get("claims")
    named = entries.items() if isinstance(entries, Mapping) else ()
    return [claim for entry, value in named for claim in _of_entry(str(entry), value)]


def _of_entry(entry: str, value: Any) -> Iterator[Claim]:
    if not isinstance(value, Mapping):
        yield Claim(entry, "", _text(value), "")
        return
    for name, figure in value.items():
        if not (name.endswith(_ASSUMES) and name.removesuffix(_ASSUMES) in value):
            assumes = value.get(f"{name}{_ASSUMES}")
            yield Claim(entry, name.replace("_", " "), _text(figure), "" if assumes is None else str(assumes))


def _text(value: Any) -> str:
    if value is None:
        return NONE
    return short(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
