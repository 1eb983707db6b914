"""What ``release`` can stand beside."""

from collections.abc import Mapping
from typing import Any

from priprune_plugins import ScenarioError

_BY_UPDATES = {"scaffold": "control variate", "feddyn": "memory of a gradient"}
_WITHHOLDING = frozenset({"largest", "random_withhold", "randomwithhold", "mix", "release"})


def check_company(scenario: Mapping[str, Any]) -> None:
    """Refuse defences and algorithms that ``release`` cannot work with.

    Raises:
        ScenarioError: A defence that composes start weights, one that withholds after ``release``, a second
            ``release``, or an algorithm that takes an update for the gradient of one participation.
    """
    algorithm = scenario.get("algorithm", {}).get("name")
    if algorithm in _BY_UPDATES:
        raise ScenarioError(
            f"defense release cannot be combined with algorithm {algorithm}: the sum of several participations' "
            f"updates is no {_BY_UPDATES[algorithm]}; use fedavg, fedprox or fednova"
        )
    names = [str(block["name"]).rpartition(":")[2].lower() for block in scenario.get("defenses", ())]
    for block, name in zip(scenario.get("defenses", ()), names, strict=True):
        if name == "priprune" or block.get("keep_local"):
            raise ScenarioError(
                f"defense release cannot be combined with {name}, which composes start weights: what is held back "
                "would be counted twice; leave one out" + (", or set keep_local: false" if name != "priprune" else "")
            )
    place = names.index("release") if "release" in names else len(names)
    after = [name for name in names[place + 1 :] if name in _WITHHOLDING]
    if after:
        raise ScenarioError(
            f"defenses: {after[0]} withholds after release, so that what it withholds is lost; put release behind it"
            if after[0] != "release"
            else "defenses: release stands twice; leave one out"
        )
