"""What secure aggregation cannot stand beside, and what it does not hide."""

from collections.abc import Iterator, Mapping
from typing import Any

from priprune_plugins import ScenarioError


def check_company(scenario: Mapping[str, Any], dropout: float) -> None:
    """Refuse what the host cannot know to be refused.

    Args:
        scenario: The resolved scenario.
        dropout: Probability that a client vanishes.

    Raises:
        ScenarioError: ``release`` beside ``dropout``.
    """
    if dropout and "release" in _names(scenario):
        raise ScenarioError(
            "defense secagg with dropout cannot be combined with release: a client that vanishes counts as sent what "
            "nobody got; set dropout: 0"
        )


def told_openly(scenario: Mapping[str, Any], group: int) -> Iterator[str]:
    """Yield what a user of secure aggregation might take for hidden, or for attacked as it is.

    Args:
        scenario: The resolved scenario.
        group: Clients in a group; 0 = all of the round.
    """
    algorithm, audit = scenario.get("algorithm", {}), scenario.get("audit") or {}
    if str(algorithm.get("name")) == "powerofchoice":
        yield "each candidate's loss, which power-of-choice chooses by, is told outside the sum"
    sampled, victims = algorithm.get("clients_per_round", 0), audit.get("victims", 0)
    size = min(group, sampled) if group else sampled
    if audit and (victims < size or (victims > size and not group)):
        yield (
            f"audit.victims is {victims}, so that the sums which are attacked are over other numbers of clients than "
            f"the training's, {size}; set audit.victims: {size}"
        )


def _names(scenario: Mapping[str, Any]) -> list[str]:
    return [str(block["name"]).rpartition(":")[2].lower() for block in scenario.get("defenses", ())]
