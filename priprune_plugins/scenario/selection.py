"""One plugin as a scenario chooses it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Selection:
    """One plugin chosen by name.

    Args:
        kind: ``pruners``, ``attacks``, ``defenses``, ``datasets``, ``models``, ``algorithms`` or ``trackers``.
        name: Catalogue name, or ``module:Class``.
        options: The plugin's own keys as given, not yet validated.
        path: Where it stands in the scenario, for instance ``defenses[0]``.
        places: ``file:line`` of each of its keys by full path, for instance of ``defenses[0].rate``.
        folders: Where the module of a ``module:Class`` is looked for besides what is installed.
    """

    kind: str
    name: str
    options: Mapping[str, Any]
    path: str
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    folders: tuple[Path, ...] = field(default=(), compare=False, repr=False)

    def at(self, key: str = "") -> str:
        """Return ``file:line: path`` of one of its keys, or of itself: how an error about it begins."""
        path = f"{self.path}.{key}" if key else self.path
        place = self.places.get(path) or self.places.get(self.path)
        return f"{place}: {path}" if place else path
