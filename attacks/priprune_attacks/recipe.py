"""What an attack by gradient matching is made of; :func:`priprune_attacks.matching.match` carries it out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

from priprune_attacks.labels import LabelRule, counted
from priprune_attacks.latent import Latent, Pixels
from priprune_attacks.objectives import Objective, cosine
from priprune_attacks.optimise import Descent
from priprune_attacks.penalties import Penalty
from priprune_attacks.precision import Precision
from priprune_attacks.priors import Prior, total_variation
from priprune_attacks.starts import StartName
from priprune_attacks.targets import Target, pseudo_gradient
from priprune_plugins import Facts, Observation, ScenarioError


@dataclass(frozen=True)
class Restart:
    """One try: where it starts, how strongly the prior pulls, and which of several draws of that start it takes."""

    start: StartName
    strength: float
    draw: int = 0


def _pixels(facts: Facts) -> Latent:
    return Pixels()


@dataclass(frozen=True, eq=False)
class Recipe:
    """How one attack of the family goes about it.

    Args:
        target: What an observation says about a gradient.
        restarts: Tries per observation.
        objective: Distance of a dummy gradient to the target.
        prior: What the restarts' strengths multiply.
        penalties: Further terms of the loss, each with its own fixed weight.
        labels: Guesses at the labels; each is tried with every restart.
        label_noise: Standard deviation of the logits that a search for labels starts from; 0 gives equal
            probabilities.
        latent: What is searched in place of pixels, for images of the given facts.
        descent: Iterations and optimiser.
        max_gib: Memory that one batch may take, an estimate; halved further when memory runs out.
        precision: Of the matching gradients, see :mod:`priprune_attacks.precision`.
        compile: Compile them, see :mod:`priprune_attacks.compiled`.
        relaxed: Let the search move counted labels too, as free numbers that need not be probabilities. Much of what
            makes matching stick is a wrong balance of the classes' gradients; it leads past that. Images are judged
            with the labels as they were counted.
        contrast: Fit gain and offset of the images found to the size of the gradient, see
            :mod:`priprune_attacks.contrast`.
    """

    target: Callable[[Observation], Target] = pseudo_gradient
    restarts: Sequence[Restart] = field(default=(Restart("mean", 1e-2),))
    objective: Objective = cosine
    prior: Prior = total_variation
    penalties: Sequence[Penalty] = ()
    labels: LabelRule = counted
    label_noise: float = 0.0
    latent: Callable[[Facts], Latent] = _pixels
    descent: Descent = field(default_factory=Descent)
    max_gib: float = 2.0
    precision: Precision = "fp32"
    compile: bool = False
    relaxed: bool = False
    contrast: bool = False


def restarts(starts: Sequence[StartName], strengths: Sequence[float], draws: int = 1) -> tuple[Restart, ...]:
    """Return every start with every strength of the prior, ``draws`` times each."""
    return tuple(Restart(*chosen) for chosen in product(starts, strengths, range(draws)))


def not_empty(attack: object, *options: str) -> None:
    """Refuse an attack whose tuple ``options`` leave it nothing to try."""
    for option in options:
        if not getattr(attack, option):
            name = type(attack).__name__.lower()
            raise ScenarioError(f"attack {name}: {option} must hold at least one value, got []")
