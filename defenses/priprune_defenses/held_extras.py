"""Parameter-sized extras beside a released upload: fresh, they would undo the mixing of what they stand beside.

PruneFL's squared gradients of one participation, for instance, are the gradient but for its sign.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from priprune_plugins.layout import Layout
from priprune_plugins.messages import State


def mixed_extras(
    extras: Mapping[str, Tensor], state: State, send: Tensor, least: int, layout: Layout
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the extras to send, and what ``state`` must then remember.

    A floating-point extra of length ``D`` leaves as its mean over the participations since the coordinate last sent
    one, where ``send`` is True and ``least`` of them or more are at hand. Elsewhere it is the mean over the layer of
    everything held, one number that mixes the layer's coordinates.

    Args:
        extras: The upload's extras by name.
        state: What was held before, left as it is.
        send: ``[D]`` bool, what is released now.
        least: Fewest participations that a sent mean mixes.
        layout: Layout of the model.
    """
    sent, remembered = dict(extras), {}
    for name, extra in extras.items():
        if extra.shape != send.shape or not extra.is_floating_point():
            continue
        total = state.get(f"{name}.held", torch.zeros_like(extra)) + extra
        count = state.get(f"{name}.count", torch.zeros_like(extra, dtype=torch.int16)) + 1
        mean, ready = total / count, send & (count >= least)
        layers = layout.spread(torch.stack([part.mean() for part in layout.layers(mean)]))
        sent[name] = torch.where(ready, mean, layers)
        remembered[f"{name}.held"] = total.masked_fill_(ready, 0.0)
        remembered[f"{name}.count"] = count.masked_fill_(ready, 0)
    return sent, remembered
