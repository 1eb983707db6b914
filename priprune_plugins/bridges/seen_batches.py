"""The batches that a training loop draws, kept as it draws them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import torch

from priprune_plugins.facts import Batch


class SeenBatches(Sequence[Batch]):
    """What a client trained on: the batches of its loop's first pass, for plugins and captures.

    The loop draws them itself, from :attr:`loop`, so that it sees the batches, and draws the random numbers, that it
    would without this. Where a plugin reads them before the loop has begun, the first pass is drawn then and given to
    the loop afterwards; where it reads them later it gets those that the loop has taken.

    Args:
        loader: A ``DataLoader``, or a list of batches, ``(images [B, C, H, W], labels [B])`` each.
        device: Where plugins get them.
    """

    def __init__(self, loader: Iterable[Batch], device: torch.device) -> None:
        self.loop = LoopBatches(loader)
        self._device = device

    def __len__(self) -> int:
        return len(self.loop.first())

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...

    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        taken = self.loop.first()[index]
        return [self._moved(batch) for batch in taken] if isinstance(taken, list) else self._moved(taken)

    def _moved(self, batch: Batch) -> Batch:
        images, labels = batch
        return images.to(self._device), labels.to(self._device).long()

    @property
    def batch_size(self) -> int:
        """Images of the first step."""
        return len(self.loop.first()[0][1])

    def distinct(self) -> Batch:
        """Return all images ``[B, C, H, W]`` and labels ``[B]`` of the first pass, which a loader gives once each."""
        images, labels = zip(*self, strict=True)
        return torch.cat(images), torch.cat(labels)


class LoopBatches:
    """What a training loop iterates over; anything else that it asks is the loader's own.

    Args:
        loader: The loader.
    """

    def __init__(self, loader: Iterable[Batch]) -> None:
        self._loader = loader
        self._first: list[Batch] | None = None
        self._begun = False

    def __iter__(self) -> Iterator[Batch]:
        if self._begun:
            return self._pass()
        self._begun = True
        return self._recorded() if self._first is None else iter(self._first)

    def _recorded(self) -> Iterator[Batch]:
        self._first = []
        for batch in self._pass():
            self._first.append(batch)
            yield batch

    def _pass(self) -> Iterator[Batch]:
        return ((images, labels) for images, labels in self._loader)

    def first(self) -> list[Batch]:
        """Return the batches of the first pass, those that the loop has taken so far where it has begun."""
        if self._first is None:
            self._first = list(self._pass())
        return self._first

    def __len__(self) -> int:
        return len(self._loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
