"""Natural clients: each writer holds what it wrote."""

import torch
from torch import Tensor

from priprune_plugins.data.images import ImageData
from priprune_plugins.data.partitions import Parts
from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.sections import DataSection


def by_writer(owners: Tensor, num_writers: int) -> Parts:
    """Return per writer the positions ``[n]`` of its images in ``owners [N]``, ascending."""
    order = torch.argsort(owners, stable=True)
    return torch.split(order, torch.bincount(owners, minlength=num_writers).tolist())


def natural_clients(data: ImageData, section: DataSection) -> tuple[Parts, Parts]:
    """Return the training and test positions of each chosen writer.

    Raises:
        ScenarioError: There are no writers, or fewer that hold ``section.min_samples`` images than clients.
    """
    if data.train_writers is None or data.test_writers is None:
        raise ScenarioError("data.partition natural: this data set has no writers; choose iid, dirichlet or shards")
    train = by_writer(data.train_writers, len(data.writers))
    test = by_writer(data.test_writers, len(data.writers))
    able = [writer for writer, index in enumerate(train) if len(index) >= section.min_samples]
    count = len(able) if section.clients is None else section.clients
    if not 1 <= count <= len(able):
        raise ScenarioError(
            f"data.clients must be 1 to {len(able)}, the writers with at least {section.min_samples} training images "
            f"(data.min_samples), got {section.clients}"
        )
    return tuple(train[writer] for writer in able[:count]), tuple(test[writer] for writer in able[:count])
