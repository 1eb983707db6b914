"""A scenario's YAML before it has types: values that know the file and line they stand in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, eq=False)
class Node:
    """One value with its place.

    Args:
        value: A scalar, or a mapping or list of nodes.
        place: ``file:line`` of its key, or ``--set path`` of an override.
        size: Number of values in it, itself included, aliases counted as often as they are used.
    """

    value: "Scalar | dict[str, Node] | list[Node]"
    place: str
    size: int = 1

    def plain(self) -> Any:
        """Return the value as plain Python objects."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value

    def places(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield ``(path, place)`` of this value and all values in it."""
        yield path, self.place
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield from node.places(f"{path}.{key}" if path else key)
        elif isinstance(self.value, list):
            for position, node in enumerate(self.value):
                yield from node.places(f"{path}[{position}]")
