"""Play a plugin between two bystanders, twice."""

from typing import Any, Literal

import torch

from priprune_plugins.plugins import Registered
from priprune_plugins.testing.bystander import After, Before
from priprune_plugins.testing.failures import broken_contract, require
from priprune_plugins.testing.federation import Played, play
from priprune_plugins.testing.stand_ins import OneMask


def played_twice(
    kind: str,
    plugin: Any,
    rounds: int,
    algorithm: Literal["fedavg", "scaffold"] = "fedavg",
    around: tuple[Registered, ...] = (),
    before: Registered | None = None,
) -> tuple[Played, After]:
    """Play the same rounds twice, from different global generators, and return the first and its bystander.

    Args:
        kind: ``pruners`` or ``defenses``.
        plugin: The plugin under test.
        rounds: Rounds to play.
        algorithm: The FedLab algorithm.
        around: Further watchers, behind the plugin.
        before: A further watcher before the plugin.

    Raises:
        AssertionError: The plugin fails, leaves something changed, or gives another result the second time.
    """
    name = type(plugin).__name__
    mask = [Registered("pruners", "one mask", "pruner:mask", OneMask())] if kind == "defenses" else []
    outcomes = []
    for global_seed in (1, 2):
        first = Before()
        last = After(name, first)
        watched = [
            *mask,
            *([before] if before else []),
            Registered("trackers", "before", "trackers[0]:before", first),
            Registered(kind, name, f"{kind}:{name}", plugin),
            Registered("trackers", "after", "trackers[1]:after", last),
            *around,
        ]
        with broken_contract():
            outcomes.append((play(watched, rounds, algorithm=algorithm, global_seed=global_seed), last))
    one, two = (played.fingerprint() for played, _ in outcomes)
    same = len(one) == len(two) and all(torch.equal(left, right) for left, right in zip(one, two, strict=True))
    require(same, f"{name} gives another result the second time: draw from client.generator(self), remember in state")
    return outcomes[0]
