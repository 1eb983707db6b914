"""The smallest batch of a run: batch norm, for one, cannot be trained on a single image."""

from collections.abc import Sequence

from torch import Tensor

from priprune_plugins.run.audit import attacked_rounds
from priprune_plugins.scenario.whole import Scenario


def smallest_batch(scenario: Scenario, steps: int | None, clients: Sequence[Tensor]) -> tuple[int, str]:
    """Return the fewest images that a step of the run takes, and where and what to do about it, in words.

    Args:
        scenario: The scenario.
        steps: Local steps of the clients; None = whole passes.
        clients: Each client's positions in the training images.
    """
    if (scenario.attacks or scenario.audit is not None) and attacked_rounds(scenario):
        return 1, "the attacks' positive control takes 1 image: use another norm, or leave attacks and audit out"
    size = scenario.algorithm.batch_size
    smallest = {client_id: _least(len(images), size, steps) for client_id, images in enumerate(clients)}
    client_id = min(smallest, key=smallest.__getitem__)
    return smallest[client_id], (
        f"client {client_id} has {len(clients[client_id])} images in batches of {size}: use another norm, or another "
        "algorithm.batch_size"
    )


def _least(images: int, size: int, steps: int | None) -> int:
    """Return the smallest of the batches that a client takes; the last of each pass is what the others leave."""
    whole, rest = divmod(images, size)
    return rest if rest and (steps is None or steps > whole) else size
