"""Labels of all batches that a joint attack searches together."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from priprune_attacks.histories import History
from priprune_attacks.labels import Guesses, counted, granted, searched
from priprune_attacks.last_layer import LastLayer
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import pseudo_gradient
from priprune_plugins import Observation
from priprune_plugins.generators import generator as stream

WindowLabels = Literal["count", "joint", "true"]


def window_labels(history: History, participations: Sequence[int], name: WindowLabels, seed: int) -> Tensor | None:
    """Return ``[P * B]`` int64 labels of the batches in order, or None where they have to be searched.

    Args:
        history: The window.
        participations: The P positions in it that are modelled.
        name: ``count`` counts them on the last layer where the window is one upload, as :class:`GI` does, and leaves
            them to the search elsewhere: a sum tells which labels there are but not whose; ``joint`` always does;
            ``true`` takes those that the host grants, a stronger threat.
        seed: Of the public noise that labels are counted with.

    Raises:
        ScenarioError: ``true`` where none were granted.
    """
    seen = [history.observations[k] for k in participations]
    guesses = [_guesses(one, name if len(history) == 1 or name != "count" else "joint", seed)[0] for one in seen]
    known = [guess for guess in guesses if guess is not None]
    return torch.cat(known) if len(known) == len(guesses) else None


def _guesses(seen: Observation, name: WindowLabels, seed: int) -> Guesses:
    target = pseudo_gradient(seen, mask="known", unroll=False)
    if name != "count":
        return (granted if name == "true" else searched)(None, target, seen)
    model = model_at(seen.facts, seen.broadcast, seen.broadcast_buffers)
    return counted(LastLayer.of(model, seen.facts, stream(seed, "labels"), seen.public), target, seen)
