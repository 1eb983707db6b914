"""The batches of one client in one round, drawn for (round, client) and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from priprune_plugins.fedlab_imports import fedlab_imports

with fedlab_imports():
    from fedlab.contrib.dataset.basic_dataset import FedDataset

Batch = tuple[Tensor, Tensor]


class TrainedOn(Protocol):
    """The images behind an upload, a client's or a group's."""

    @property
    def batch_size(self) -> int:
        """Images of the first step."""
        ...

    def distinct(self) -> Batch:
        """Return the images ``[B, C, H, W]`` and labels ``[B]``, each image once."""
        ...


class ClientBatches:
    """Iterates over a client's batches: exactly ``steps`` of them, or one newly shuffled pass at each iteration.

    A pass is a permutation of the client's images cut into batches, the last one shorter; batches never cross passes.

    Args:
        images: ``[n, C, H, W]`` of this client.
        labels: ``[n]``.
        batch_size: Images a batch.
        steps: Batches to give, or None for whole passes.
        generator: CPU generator of this client and round.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, batch_size: int, steps: int | None, generator: torch.Generator
    ) -> None:
        self._images, self._labels = images, labels
        self._batch_size = batch_size
        self._steps = steps
        self._generator = generator
        self._passes = 0

    def __len__(self) -> int:
        return self._steps if self._steps is not None else -(-len(self._labels) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        self._passes += 1
        again = self._passes > 1 and self._steps is None
        return iter(self._batches(self._positions()) if again else self.first)

    @cached_property
    def first(self) -> Sequence[Batch]:
        """The batches of the first iteration."""
        return self._batches(self._first_positions)

    @property
    def batch_size(self) -> int:
        """Images of the first step; fewer than were asked for where the client has no more."""
        return len(self._first_positions[0])

    def distinct(self) -> Batch:
        """Return the images ``[B, C, H, W]`` and labels ``[B]`` of the first iteration, each image once."""
        used = torch.cat(self._first_positions).tolist()
        positions = torch.tensor(list(dict.fromkeys(used)), device=self._images.device)
        return self._images[positions], self._labels[positions]

    @cached_property
    def _first_positions(self) -> list[Tensor]:
        return self._positions()

    def _positions(self) -> list[Tensor]:
        positions: list[Tensor] = []
        while len(positions) < len(self):
            order = torch.randperm(len(self._labels), generator=self._generator)
            positions.extend(torch.split(order.to(self._images.device), self._batch_size))
        return positions[: len(self)]

    def _batches(self, positions: Sequence[Tensor]) -> list[Batch]:
        return [(self._images[chosen], self._labels[chosen]) for chosen in positions]


class RoundDataset(FedDataset):  # type: ignore[misc]
    """FedLab's data set interface over batches that the host has drawn.

    Args:
        images_of: Returns a client's training images and labels.
        num_clients: Number of clients.
    """

    def __init__(self, images_of: Callable[[int], Batch], num_clients: int) -> None:
        super().__init__()
        self.num = num_clients
        self._images_of = images_of
        self.drawn: dict[int, ClientBatches] = {}

    def get_dataset(self, client_id: int, type: str = "train") -> Batch:  # noqa: A002 - FedLab's name
        return self._images_of(client_id)

    def get_dataloader(
        self,
        client_id: int,
        batch_size: int | None = None,
        type: str = "train",  # noqa: A002 - FedLab's name
    ) -> Sequence[Batch] | ClientBatches:
        """Return this round's batches, or all images of the client in order where no batch size is given."""
        if batch_size is None:
            images, labels = self._images_of(client_id)
            return list(zip(torch.split(images, 256), torch.split(labels, 256), strict=True))
        return self.drawn[client_id]
