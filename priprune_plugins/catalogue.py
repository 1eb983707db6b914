"""Which plugins are there: entry points, one group per kind, built-in ones by the same door as strangers.

Only names are read until a plugin is chosen, so that a stranger's broken plugin stops no run that does not use it.
"""

import importlib
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TYPE_CHECKING

from priprune_plugins.errors import ScenarioError
from priprune_plugins.wording import cause, guess, shown

if TYPE_CHECKING:
    from priprune_plugins.scenario.selection import Selection

KINDS = {
    "pruners": "pruner",
    "attacks": "attack",
    "defenses": "defense",
    "datasets": "data set",
    "models": "model",
    "algorithms": "algorithm",
    "trackers": "tracker",
}
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True)
class Entry:
    """One installed plugin, not imported.

    Args:
        name: Its name in a scenario.
        value: ``module:Class``.
        distribution: The distribution that brings it.
        version: That distribution's version.
    """

    name: str
    value: str
    distribution: str
    version: str


def installed(kind: str) -> list[Entry]:
    """Return the installed plugins of a kind by name; a name that two distributions bring is there twice.

    What a folder of the import path holds is read once in a process; another path is read anew.
    """
    return list(_installed(kind, tuple(sys.path)))


@cache
def _installed(kind: str, path: tuple[str, ...]) -> tuple[Entry, ...]:
    # Reading the metadata of everything installed takes longer than checking a scenario.
    found = entry_points(group=f"priprune.{kind}")
    return tuple(sorted(map(_entry, found), key=lambda entry: (entry.name, entry.distribution)))


def _entry(point: EntryPoint) -> Entry:
    dist = point.dist
    return Entry(point.name, point.value, dist.name if dist else "unknown", dist.version if dist else "unknown")


def is_reference(name: str) -> bool:
    """Whether a name is ``module:Class`` and not one of the catalogue."""
    return ":" in name


def check_name(selection: "Selection") -> Entry | None:
    """Check a selection's name by metadata alone, and return its entry; None for a ``module:Class``.

    Raises:
        ScenarioError: No such plugin, two of them, or no ``module:Class``.
    """
    at, word = selection.at("name"), KINDS[selection.kind]
    if is_reference(selection.name):
        if not _REFERENCE.fullmatch(selection.name):
            raise ScenarioError(f"{at} must be a name or module:Class, got {shown(selection.name)}")
        return None
    known = installed(selection.kind)
    matching = [entry for entry in known if entry.name == selection.name]
    if not matching:
        raise ScenarioError(f"{at}: {_unknown(word, selection.name, [entry.name for entry in known])}")
    if len(matching) > 1:
        sources = " and ".join(f"{entry.distribution} {entry.version}" for entry in matching)
        raise ScenarioError(
            f"{at}: {word} {selection.name!r} is brought by {sources}; uninstall one, or use module:Class"
        )
    return matching[0]


def _unknown(word: str, name: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    meant = guess(name, names) or ";"
    there = ", ".join(names) or "none"
    return f"unknown {word} {shown(name)}{meant} installed: {there}. After adding an entry point, install again."


def load_class(selection: "Selection") -> type:
    """Import the class that a selection names.

    Raises:
        ScenarioError: :func:`check_name`'s, the import fails, or it gives no class.
    """
    entry = check_name(selection)
    value = selection.name if entry is None else entry.value
    module_name, _, attribute = value.partition(":")
    word = KINDS[selection.kind]
    owner = (
        f"{word} {value}"
        if entry is None
        else f"{word} {entry.name!r} of {entry.distribution} {entry.version} ({value})"
    )
    module = _imported(module_name, f"{selection.at('name')}: {owner}", () if entry else _folders(selection))
    found = getattr(module, attribute.strip(), None)
    if not isinstance(found, type):
        what = "holds no such class" if found is None else f"is a {type(found).__name__}, not a class"
        file = getattr(module, "__file__", None) or module_name
        raise ScenarioError(f"{selection.at('name')}: {owner} {what}; looked in {file}")
    return found


def _folders(selection: "Selection") -> tuple[Path, ...]:
    return (*selection.folders, Path.cwd())


def _imported(name: str, what: str, folders: tuple[Path, ...]) -> ModuleType:
    top = name.partition(".")[0]
    beside = [folder for folder in folders if (folder / f"{top}.py").is_file() or (folder / top).is_dir()]
    # At the end of the path: a user's random.py must not stand in for Python's own.
    sys.path.extend(str(folder) for folder in beside if str(folder) not in sys.path)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except Exception as error:
        # A stranger's module may raise anything; whatever it is, its name belongs into the message.
        absent = isinstance(error, ModuleNotFoundError) and error.name == name and folders
        looked = f"; there is no {top}.py in {' or '.join(dict.fromkeys(map(str, folders)))}" if absent else ""
        dotted = f"; write it without .py: {top}:Class" if absent and name == f"{top}.py" else ""
        raise ScenarioError(f"{what} cannot be imported: {cause(error)}{_line(error)}{dotted or looked}") from error
    _check_origin(module, what, beside)
    return module


def _line(error: Exception) -> str:
    """Return where an import failed, but in the importing itself."""
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    inside = [frame for frame in frames if frame.filename not in (__file__, importlib.__file__)]
    return f" ({inside[-1].filename}:{inside[-1].lineno})" if inside else ""


def _check_origin(module: ModuleType, what: str, beside: list[Path]) -> None:
    """Refuse a module of the same name that is not the one beside the scenario."""
    file = getattr(module, "__file__", None)
    if not beside or file is None:
        return
    for folder in beside:
        with suppress(ValueError):
            Path(file).resolve().relative_to(folder.resolve())
            return
    raise ScenarioError(f"{what} is another module, {file}, and not the one in {beside[0]}; rename yours")
