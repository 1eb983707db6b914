"""The contract suite for plugins: what every pruner, defence and attack must keep, on a small real federation.

Plain functions raise ``AssertionError`` with what is wrong and what to do; the classes are the same for pytest::

    class TestMyPruner(PrunerContract):
        plugin = MyPruner(rate=0.3)
        promises_rate = True
"""

from priprune_plugins.testing.attacks import check_attack
from priprune_plugins.testing.contracts import AttackContract, DefenseContract, PrunerContract
from priprune_plugins.testing.declaration import check_declaration
from priprune_plugins.testing.defenses import check_defense
from priprune_plugins.testing.federation import Played, play
from priprune_plugins.testing.observed import observations
from priprune_plugins.testing.pruners import check_pruner

__all__ = [
    "AttackContract",
    "DefenseContract",
    "Played",
    "PrunerContract",
    "check_attack",
    "check_declaration",
    "check_defense",
    "check_pruner",
    "observations",
    "play",
]
