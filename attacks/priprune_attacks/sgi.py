"""SGI: gradient inversion that recovers the pruning mask from the upload and matches nothing else.

Reference: PriPrune, Algorithm 2 and Figure 7.
"""

from dataclasses import dataclass

from priprune_attacks.gi import GI
from priprune_attacks.labels import searched
from priprune_attacks.optimise import Descent, constant
from priprune_attacks.recipe import Recipe, Restart
from priprune_attacks.targets import MaskRule, Reference, literal_target

_PAPER_ITERATIONS = 10_000
_PAPER_LR = 0.01


@dataclass(frozen=True, eq=False)
class SGI(GI):
    """Sparse gradient inversion: :class:`GI` against the broadcast, on the coordinates recovered from the upload.

    The algorithm as printed has four defects, corrected here: its update has the wrong sign; it subtracts the
    client's last upload where the weights that the client was sent are meant; it takes the dummy gradient at the
    uploaded weights, not where the client took its own; and it masks the target but not the dummy gradient.

    With ``fill: broadcast``, the stronger attacker, a withheld coordinate is unknown and left out on both sides; with
    ``fill: zeros`` it counts as trained to 0.

    Args:
        paper: Algorithm 2 to the letter with only the sign fixed (and the reference, which a server with sampled
            clients does not otherwise have): 10,000 iterations at a constant 0.01 from one noise start, labels
            searched, no prior, because its ``tau`` is a constant. The start is uniform in [0, 1], where the paper
            draws normal noise around 0, and the step is Adam's. ``objective`` and ``max_gib`` still count,
            the other options do not.
    """

    reference: Reference = "broadcast"
    mask: MaskRule = "recovered"
    paper: bool = False

    def recipe(self) -> Recipe:
        """Return the attack that the options describe."""
        usual = super().recipe()
        if not self.paper:
            return usual
        return Recipe(
            target=literal_target,
            restarts=(Restart("uniform", 0.0),),
            objective=usual.objective,
            labels=searched,
            descent=Descent(_PAPER_ITERATIONS, _PAPER_LR, constant),
            max_gib=self.max_gib,
        )
