"""From ``figures:`` of a sweep's file to :class:`Figure`, every name checked against axes and columns."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.sections_reader import entries, section
from priprune_plugins.scenario.values import typed
from priprune_plugins.sweep.axes import Axis, meant
from priprune_plugins.sweep.columns import FACTS, MEASURES, ROUND_MEASURES, SEED
from priprune_plugins.sweep.figures import ROUND, Drawn, Figure, Scalar
from priprune_plugins.wording import guess, shown, unknown_key

Axes = Mapping[str, Axis]
_KEYS = [*(key.name for key in fields(Drawn)), "where"]
_PICTURES = "reconstructions"
_CAPTIONS = ("psnr_db", "nmi")


def read_figures(node: Node | None, axes: Axes) -> tuple[Figure, ...]:
    """Return the figures that a sweep's file asks for.

    Args:
        node: The value of ``figures``, or None.
        axes: The sweep's axes by path.

    Raises:
        ScenarioError: One line, ``file:line: path`` first.
    """
    if node is None or node.value is None:
        return ()
    if not isinstance(node.value, list):
        got = shown(node.plain())
        raise ScenarioError(f"{node.place}: figures must be a list, got {got}; write - {{title: ..., x: ..., y: ...}}")
    return tuple(_figure(item, f"figures[{index}]", axes) for index, item in enumerate(node.value))


def _figure(node: Node, path: str, axes: Axes) -> Figure:
    found = dict(entries(node, path))
    where = found.pop("where", None)
    if not found.get("title", node).plain() or "title" not in found:
        raise ScenarioError(f"{node.place}: {path}.title is missing; say in a few words what the figure shows")
    for key, value in found.items():
        if key not in _KEYS:
            raise ScenarioError(unknown_key(f"{value.place}: {path}.{key[:60]}", "a figure", key, _KEYS))
    drawn = section(Drawn, found, path)
    if drawn.over == "rounds" and drawn.x is None:
        drawn = replace(drawn, x=ROUND)
    for key, what in _wrong(drawn, axes):
        raise ScenarioError(f"{found.get(key, node).place}: {path}.{key} {what}")
    return Figure(**vars(drawn), where=_where(where, path, axes), place=f"{node.place}: {path}")


def _wrong(drawn: Drawn, axes: Axes) -> Iterator[tuple[str, str]]:
    """Yield the key and the fault of each name that means nothing, the first first."""
    yield from _wrong_kind(drawn)
    cells = [*axes, *(fact for fact in FACTS if fact not in axes)]
    rounds = drawn.over == "rounds"
    measures = _CAPTIONS if drawn.kind == _PICTURES else ROUND_MEASURES if rounds else MEASURES
    if drawn.y not in measures:
        kind = "figure of a round" if rounds else "caption" if drawn.kind == _PICTURES else "figure of the results"
        yield "y", _unknown(kind, drawn.y, measures)
    # A line may lead along what was measured, its density for instance; bars and pictures stand beside each other.
    places = [ROUND] if rounds else [*cells, *MEASURES] if drawn.kind in ("line", "scatter") else cells
    if drawn.x not in places:
        yield "x", _unknown("axis", str(drawn.x), places)
    series = (drawn.series,) if isinstance(drawn.series, str) else drawn.series
    for key, names in (("series", series), ("panels", (drawn.panels,) if drawn.panels is not None else ())):
        yield from ((key, _unknown("axis", name, cells)) for name in names if name not in cells)
        yield from (
            (key, "cannot be seed: figures are reduced over seeds; remove it") for name in names if name == SEED
        )
    chosen = [name for name in (drawn.x, *series, drawn.panels) if name is not None]
    twice = next((name for name in chosen if chosen.count(name) > 1), None)
    if twice is not None:
        yield "series", f"names {twice} again; x, series and panels are different columns"


def _wrong_kind(drawn: Drawn) -> Iterator[tuple[str, str]]:
    if drawn.over == "rounds" and drawn.kind != "line":
        yield "kind", f"must be line over rounds, got {drawn.kind}; remove over, or kind"
    elif drawn.x is None:
        yield "x", "is missing; name an axis of the sweep"
    elif drawn.x == SEED:
        yield "x", "cannot be seed: figures are reduced over seeds; name another axis"
    if drawn.panels is not None and drawn.kind == _PICTURES:
        yield "panels", "is not for pictures; name two series instead"


def _unknown(kind: str, name: str, known: Any) -> str:
    return f"is no {kind}, got {shown(name)}{guess(name, known) or ';'} there are {', '.join(known)}"


def _where(node: Node | None, path: str, axes: Axes) -> dict[str, tuple[Scalar, ...]]:
    found = {} if node is None else entries(node, f"{path}.where")
    return {name: _values(name, value, f"{path}.where", axes) for name, value in found.items()}


def _values(name: str, node: Node, path: str, axes: Axes) -> tuple[Scalar, ...]:
    if name in axes:
        return tuple(value.column for value in meant(axes[name], node, path))
    if name not in FACTS:
        raise ScenarioError(f"{node.place}: {path}: {_unknown('axis', name, [*axes, *FACTS])}")
    given: tuple[str, ...] | str = typed(str | tuple[str, ...], node.plain(), f"{node.place}: {path}.{name}")
    return (given,) if isinstance(given, str) else given
