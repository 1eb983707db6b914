"""The contract suite as classes that pytest collects: subclass one and set ``plugin``."""

from typing import Any, ClassVar

from priprune_plugins.testing.attacks import check_attack
from priprune_plugins.testing.declaration import check_declaration
from priprune_plugins.testing.defenses import check_defense
from priprune_plugins.testing.pruners import check_pruner


class PrunerContract:
    """Contract of a pruner; set ``promises_rate`` where its mask removes exactly ``round(rate * N)``."""

    plugin: ClassVar[Any]
    promises_rate: ClassVar[bool] = False

    def test_options_and_hooks_are_declared_as_the_host_needs_them(self) -> None:
        check_declaration("pruners", self.plugin)

    def test_rounds_with_it_keep_the_contract(self) -> None:
        check_pruner(self.plugin, promises_rate=self.promises_rate)


class DefenseContract:
    """Contract of a defence."""

    plugin: ClassVar[Any]

    def test_options_and_hooks_are_declared_as_the_host_needs_them(self) -> None:
        check_declaration("defenses", self.plugin)

    def test_rounds_with_it_keep_the_contract(self) -> None:
        check_defense(self.plugin)


class AttackContract:
    """Contract of an attack; give it few iterations."""

    plugin: ClassVar[Any]

    def test_options_and_hooks_are_declared_as_the_host_needs_them(self) -> None:
        check_declaration("attacks", self.plugin)

    def test_reconstructions_keep_the_contract(self) -> None:
        check_attack(self.plugin)
