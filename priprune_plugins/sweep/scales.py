"""``scales:`` of a sweep: the same sweep at another scale, smaller for instance, chosen by ``--set scale=smoke``."""

from collections.abc import Mapping, Sequence

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.includes import merged
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.rules import is_plain_name
from priprune_plugins.scenario.sections_reader import entries
from priprune_plugins.wording import guess, shown, unknown_key

SCALES = "scales"
# What names a sweep is no matter of its scale.
KEYS = ("base", "grid", "zip", "exclude", "figures", "threads")


def chosen_scale(overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the scale that ``--set scale=...`` names, the last of several, and all other overrides."""
    named = {override: override.partition("=") for override in overrides}
    scales = [text.strip() for path, equals, text in named.values() if path.strip() == "scale" and equals]
    others = [override for override, (path, equals, _) in named.items() if path.strip() != "scale" or not equals]
    return (scales[-1] if scales else None), others


def at_scale(node: Node, scale: str | None, shared_keys: Mapping[str, frozenset[str]]) -> Node:
    """Return a sweep's mapping at a scale, as if a file that includes it said what stands under that scale.

    Args:
        node: The sweep's mapping; its ``scales`` are checked and taken out.
        scale: The scale's name; None = the sweep as it stands.
        shared_keys: As for :func:`~priprune_plugins.scenario.includes.read_with_includes`.

    Raises:
        ScenarioError: A scale is no mapping of a sweep's keys, or there is none of that name.
    """
    found = entries(node, "sweep")
    given = found.get(SCALES)
    scales = {} if given is None or given.value is None else entries(given, SCALES)
    for name, own in scales.items():
        _check(name, own)
    usual = Node({key: value for key, value in found.items() if key != SCALES}, node.place)
    if scale is None:
        return usual
    if scale not in scales:
        there = f"there are {', '.join(scales)}" if scales else "the sweep has no scales; leave it out"
        raise ScenarioError(f"--set scale: no scale {shown(scale)}{guess(scale, scales) or ';'} {there}")
    return merged(usual, Node(scales[scale].value, node.place), shared_keys)


def _check(name: str, own: Node) -> None:
    path = f"{SCALES}.{name[:60]}"
    if not is_plain_name(name):
        raise ScenarioError(f"{own.place}: {path}: a scale's name must be a plain name of A-Z a-z 0-9 . _ -")
    for key, value in entries(own, path).items():
        if key not in KEYS:
            raise ScenarioError(unknown_key(f"{value.place}: {path}.{key[:60]}", "a scale", key, KEYS))
