"""The age-aware attack on a defence that holds updates back: use only what was held for a short time.

The server sees from the bytes when each coordinate was last sent, and so how many batches each number is the sum of.
It keeps the numbers that sum few, and models every batch in them at the broadcast that it was really taken at.
No paper on pruning defences reports this attacker.
"""

from dataclasses import dataclass
from typing import Literal

from priprune_attacks.histories import History
from priprune_attacks.joint_inversion import JointInversion
from priprune_attacks.summed_gradients import Sums, known_sums
from priprune_plugins import Count, Index


@dataclass(frozen=True, eq=False)
class AgeAware(JointInversion):
    """:class:`JointInversion` on the youngest numbers of the attacked upload alone.

    Assumes what that attack assumes. Its uploads before the attacked one serve to tell ages; those after it are not
    used.

    Args:
        most_batches: Batches that a number may sum at most; ``gap + 1`` of ``release`` leaves those of the least age.
        releases: ``recovered`` from the bytes, or ``detected`` by size where noise covers what was not sent.
    """

    later: Index = 0
    releases: Literal["recovered", "detected"] = "recovered"
    most_batches: Count = 4

    def sums(self, history: History) -> Sums:
        """Return the attacked upload's numbers that sum few batches."""
        chosen = (history.batches <= self.most_batches) & history.sent
        chosen[: history.attacked] = False
        chosen[history.attacked + 1 :] = False
        return known_sums(history, chosen)
