"""Which victims may share a batch: same weights, same number of images and steps, same treatment of their labels.

Victims at different weights, of different rounds, take turns. Batched over weights of their own, 8 victims of 9
restarts need as long as one after the other where the time goes: 28 ms for Conv-2's first Linear layer either way
(11.5 ms where weights are shared), 0.8 against 0.7 ms for the second convolution of ``mini``. Only calls would be
saved.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from priprune_attacks.gradients import Gradients, gradients_of
from priprune_attacks.labels import Guesses, LabelRule
from priprune_attacks.last_layer import LastLayer
from priprune_attacks.local_steps import LocalSteps
from priprune_attacks.precision import Precision, in_precision
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import Target
from priprune_plugins import Facts, Observation
from priprune_plugins.generators import generator as stream

TargetOf = Callable[[Observation], Target]


@dataclass(frozen=True, eq=False)
class Victim:
    """One observation to be attacked.

    Args:
        index: Its position among all observations of the call.
        observation: What the server holds.
        labels: Guesses at the labels: ``[B]`` each, or None where they are searched with the images.
        steps: The local steps that its gradient is matched over.
    """

    index: int
    observation: Observation
    labels: Guesses
    steps: LocalSteps


@dataclass(frozen=True, eq=False)
class Group:
    """Victims of one batch, and the model at their common weights."""

    facts: Facts
    gradients: Gradients
    victims: tuple[Victim, ...]

    @property
    def num_images(self) -> int:
        return self.victims[0].observation.num_images

    @property
    def steps(self) -> LocalSteps:
        """The local steps of any of the victims: as many and as large as those of all."""
        return self.victims[0].steps

    @property
    def num_guesses(self) -> int:
        return len(self.victims[0].labels)


def readings(
    observations: Sequence[tuple[int, Observation]], target_of: TargetOf
) -> list[tuple[TargetOf, Sequence[tuple[int, Observation]]]]:
    """Return how the observations are read: as the targets say, and those of several local steps as one step too.

    Unrolling is exact where training is stable. Where steps overshoot, its loss is too rugged to descend, while the
    first step's gradient dominates the update, which one step matches well; the losses tell which is the case.
    Measured with ``mini`` at rate .3, 5 steps, lr .01, means over 3 victims: one image at every step 21.0 dB unrolled
    and 17.0 as one step; five images at every step 17.4 and 17.2; five images in steps of one, whose order is unknown,
    are read as one step, 16.8. At lr .1 one image has 20.5 dB, read as one step.
    """
    several = [(index, seen) for index, seen in observations if target_of(seen).steps.count > 1]
    unrolled = [(target_of, observations)]
    return [*unrolled, (lambda seen: target_of(seen).as_one_step, several)] if several else unrolled


def grouped(
    observations: Sequence[tuple[int, Observation]],
    target_of: TargetOf,
    labels: LabelRule,
    seed: int,
    precision: Precision = "fp32",
) -> Iterator[Group]:
    """Yield all victims in groups, one model at a time.

    Args:
        observations: Those that can be attacked, each with its index in the call.
        target_of: Gives the weights that a gradient was taken at.
        labels: Gives the guesses at an observation's labels.
        seed: Seed of the public noise that labels are counted with.
        precision: Of the matching gradients.
    """
    for members in _sharing_weights(observations, target_of):
        first = members[0][1]
        facts = first.facts
        model = model_at(facts, target_of(first).point, first.broadcast_buffers)
        last = LastLayer.of(model, facts, stream(seed, "labels"), first.public)
        exact = gradients_of(model, facts.layout, facts.image_shape, facts.num_classes)
        gradients = in_precision(exact, precision, facts.layout)
        victims = [_victim(index, seen, target_of(seen), last, labels) for index, seen in members]
        for _, batch in groupby(sorted(victims, key=_batch_key), key=_batch_key):
            yield Group(facts, gradients, tuple(batch))


def _victim(index: int, seen: Observation, target: Target, last: LastLayer | None, labels: LabelRule) -> Victim:
    return Victim(index, seen, labels(last, target, seen), target.steps)


def _batch_key(victim: Victim) -> tuple[int, list[bool], tuple[float, ...]]:
    return victim.observation.num_images, [labels is None for labels in victim.labels], victim.steps.key


def _sharing_weights(
    observations: Sequence[tuple[int, Observation]], target_of: TargetOf
) -> list[list[tuple[int, Observation]]]:
    """Sort observations into lists with bit-equal points; the sum of a point tells most of them apart at once."""
    found: dict[float, list[tuple[Tensor, list[tuple[int, Observation]]]]] = {}
    for index, observation in observations:
        point = target_of(observation).point
        lists = found.setdefault(float(point.sum()), [])
        for known, members in lists:
            if torch.equal(known, point):
                members.append((index, observation))
                break
        else:
            lists.append((point, [(index, observation)]))
    return [members for lists in found.values() for _, members in lists]
