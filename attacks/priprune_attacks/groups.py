"""Which victims may share a batch: same weights, same number of images, same treatment of their labels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from priprune_attacks.gradients import Gradients, gradients_of
from priprune_attacks.labels import LastLayer, count_labels
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
        labels: ``[B]`` counted labels, or None where they are searched with the images.
    """

    index: int
    observation: Observation
    labels: Tensor | None


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
    def search_labels(self) -> bool:
        return self.victims[0].labels is None


def grouped(
    observations: Sequence[tuple[int, Observation]], target_of: TargetOf, search_labels: bool, seed: int
) -> Iterator[Group]:
    """Yield all victims in groups, one model at a time.

    Args:
        observations: Those that can be attacked, each with its index in the call.
        target_of: Gives the weights that a gradient was taken at.
        search_labels: Leave all labels to the search; otherwise only those that the last layer does not tell.
        seed: Seed of the public noise that labels are counted with.
    """
    for members in _sharing_weights(observations, target_of):
        first = members[0][1]
        facts = first.facts
        model = model_at(facts, target_of(first).point, first.broadcast_buffers)
        last = None if search_labels else LastLayer.of(model, facts, stream(seed, "labels"))
        gradients = gradients_of(model, facts.layout, facts.image_shape, facts.num_classes)
        victims = [Victim(i, o, count_labels(last, target_of(o), o.num_images)) for i, o in members]
        for _, batch in groupby(sorted(victims, key=_batch_key), key=_batch_key):
            yield Group(facts, gradients, tuple(batch))


def _batch_key(victim: Victim) -> tuple[int, bool]:
    return victim.observation.num_images, victim.labels is None


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
