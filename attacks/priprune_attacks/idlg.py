"""iDLG: DLG with the label read from the gradient.

Reference: Zhao, Mopuri, Bilen, "iDLG: Improved Deep Leakage from Gradients", 2020, arXiv:2001.02610, algorithm 1.
"""

from dataclasses import dataclass, replace

from priprune_attacks.dlg import DLG
from priprune_attacks.labels import counted
from priprune_attacks.recipe import Recipe


@dataclass(frozen=True, eq=False)
class IDLG(DLG):
    """:class:`~priprune_attacks.dlg.DLG` with analytic labels: with one image the class of the one negative entry.

    Departures besides DLG's: the negative entry is that of the last bias gradient, or of the row sums of the last
    weight gradient where the bias is not there, in place of the signs of row products; with several images, which the
    paper leaves out, labels are counted, see :mod:`priprune_attacks.counts`; where the last layer is withheld and tells
    nothing, they are searched as in DLG.
    """

    def recipe(self) -> Recipe:
        """Return the attack that the options describe."""
        return replace(super().recipe(), labels=counted)
