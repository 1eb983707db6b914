"""DLG: search images and soft labels together, by squared distance of gradients and L-BFGS.

Reference: Zhu, Liu, Han, "Deep Leakage from Gradients", NeurIPS 2019, arXiv:1906.08935, algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from priprune_attacks.labels import searched
from priprune_attacks.lbfgs import LBFGS
from priprune_attacks.matching import match
from priprune_attacks.objectives import l2
from priprune_attacks.optimise import Descent, constant
from priprune_attacks.recipe import Recipe, not_empty, restarts
from priprune_attacks.starts import StartName
from priprune_attacks.targets import Fill, MaskRule, pseudo_gradient
from priprune_plugins import Count, Observation, Positive, Progress, Reconstruction, hookimpl


@dataclass(frozen=True, eq=False)
class DLG:
    """Deep leakage from gradients.

    Made for fresh networks that are twice differentiable, with large weights (``lenet_dlg``), and one image. About one
    normal start in four diverges there, and most do where images are standardised inside the model, so that restarts
    are part of the attack, chosen by their own loss. Labels are the most probable ones after the search. ReLU networks
    have flat curvature between kinks: there it is weak, and :class:`~priprune_attacks.gi.GI` is the attacker.

    Departures: several restarts, from the public mean image and uniform noise besides the paper's normal noise, and
    shorter steps (``starts: [normal]``, ``lr: 1``, ``draws: 1`` are the paper's); the target is the pseudo-gradient of
    the upload, on the coordinates that the upload shows (``mask``), where the paper has the gradient itself; one count
    of loss evaluations in place of outer steps of 20; the best iterate, not the last. Reported images are clamped to
    [0, 1], though their loss belongs to the unclamped ones: L-BFGS knows no bounds.

    Args:
        iterations: Loss evaluations per restart.
        starts: Where restarts begin.
        draws: Random draws of each start.
        lr: Length of every step but the first, as a share of the quasi-Newton step.
        history: Evaluations whose curvature pairs are kept.
        wolfe: Search along each line until the strong Wolfe conditions hold, which keeps every start from diverging
            and takes longer to converge; the authors' code takes plain steps.
        mask: Coordinates that are compared.
        fill: What an absent coordinate counts.
        max_gib: Memory that one batch of victims and restarts may take.
    """

    iterations: Count = 1000
    starts: tuple[StartName, ...] = ("mean", "uniform", "normal")
    draws: Count = 2
    lr: Positive = 0.3
    history: Count = 100
    wolfe: bool = False
    mask: MaskRule = "recovered"
    fill: Fill = "broadcast"
    max_gib: Positive = 2.0

    def __post_init__(self) -> None:
        not_empty(self, "starts")

    def recipe(self) -> Recipe:
        """Return the attack that the options describe."""
        return Recipe(
            target=partial(pseudo_gradient, mask=self.mask, fill=self.fill),
            restarts=restarts(self.starts, (0.0,), self.draws),
            objective=l2,
            labels=searched,
            label_noise=1.0,
            descent=Descent(
                self.iterations,
                self.lr,
                constant,
                partial(LBFGS, history=self.history, wolfe=self.wolfe),
                bounded=False,
            ),
            max_gib=self.max_gib,
        )

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, in order."""
        return match(observations, self.recipe(), generator, progress)
