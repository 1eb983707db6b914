"""What a user wrote: from YAML to typed values, with file and line in every error."""

from priprune_plugins.scenario.reading import read_scenario
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.scenario.whole import Scenario

__all__ = ["Scenario", "Selection", "read_scenario"]
