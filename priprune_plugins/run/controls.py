"""The observations of the positive control: a case in which the attack is known to work, if it works at all."""

from dataclasses import replace
from typing import Any, Literal

from priprune_plugins.errors import PluginRuleError
from priprune_plugins.masks import keep_highest
from priprune_plugins.messages import Observation

Control = Literal["bare", "largest"]
LARGEST_RATE = 0.3


def control_of(plugin: object) -> Control:
    """Return the control that an attack's class attribute ``control`` asks for.

    ``bare`` (default): nothing is pruned or withheld. ``largest``: for attacks that read the withheld pattern, which a
    bare upload does not have; the largest of the update are withheld, whose pattern is known to tell the image.

    Raises:
        PluginRuleError: It asks for another.
    """
    asked: Any = getattr(plugin, "control", "bare")
    if asked not in ("bare", "largest"):
        raise PluginRuleError(f"attack {type(plugin).__name__}: control must be bare or largest, got {asked!r}")
    chosen: Control = asked
    return chosen


def without_largest(observation: Observation) -> tuple[Observation, dict[str, float | None]]:
    """Return a bare observation without the largest 0.3 of its update, and what its record says was withheld."""
    change = (observation.broadcast - observation.upload).abs()
    withheld = ~keep_highest(-change, change >= 0, LARGEST_RATE)
    total = float(change.sum())
    mass = float(change[withheld].sum()) / total if total > 0 else None
    shares = {"withheld_rate": int(withheld.sum()) / withheld.numel(), "gradient_mass_withheld": mass}
    return replace(observation, upload=observation.upload.masked_fill(withheld, 0.0)), shares
