"""What a client may send, known before it sends anything: shapes, dtypes, names and sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.messages import Batch
from priprune_plugins.network.checks import tensor, tensors
from priprune_plugins.network.frames import FrameError
from priprune_plugins.simulation.client_round import ClientRunner
from priprune_plugins.simulation.visits import Visit

# Weights, pack, masks, start and offset are eight at most; the others are left to algorithms' and plugins' extras.
_VECTORS = 16
_SMALL = 2**20


class Expected:
    """Checks what came and moves it to the run's device.

    Args:
        runner: Of the server's own federation: its layout, data and statistics are what clients must fit.
    """

    def __init__(self, runner: ClientRunner) -> None:
        self._runner = runner
        self._weights: Tensor = runner.initial
        self._first: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}

    def num_bytes(self, visit: Visit) -> int:
        """Return the most bytes of tensors that a visit may leave."""
        vector = self._weights.numel() * max(self._weights.itemsize, 8)
        buffers = sum(buffer.nbytes for buffer in self._runner.buffers.server.values())
        pixels = torch.Size(self._runner.facts.image_shape).numel()
        images = self.num_samples(visit.client_id) * (8 * pixels + 8) if visit.observed else 0
        return _VECTORS * vector + buffers + images + _SMALL

    def num_samples(self, client_id: int) -> int:
        """Return how many images a client trains on."""
        return int(self._runner.data.num_samples(client_id))

    def vector(self, found: Any, name: str) -> Tensor:
        """Return a vector ``[D]`` of the weights' dtype."""
        return self._here(tensor(found, name, tuple(self._weights.shape), self._weights.dtype))

    def mask(self, found: Any, name: str) -> Tensor | None:
        """Return a mask ``[D]`` or None."""
        return None if found is None else self._here(tensor(found, name, tuple(self._weights.shape), torch.bool))

    def pack(self, found: Any) -> list[Tensor]:
        """Return what the algorithm aggregates: one tensor for the weights and one for each of its extras."""
        codec = self._runner.algorithm.codec
        if not isinstance(found, list) or len(found) != 1 + len(codec.extras):
            raise FrameError(f"pack must hold {1 + len(codec.extras)} tensors")
        weights, *extras = found
        named = tensors(dict(zip(codec.extras, extras, strict=True)), "pack")
        self._check(named)
        checked = [self._extra(extra, name) for name, extra in named.items()]
        return [self.vector(weights, "pack"), *checked]

    def _extra(self, extra: Tensor, name: str) -> Tensor:
        """Return an extra of the pack; where the algorithm alone knows its shape, that of the first one counts."""
        if name in self._runner.algorithm.codec.vectors:
            return self.vector(extra, name)
        shape, dtype = self._first.get(name, (tuple(extra.shape), extra.dtype))
        return self._here(tensor(extra, name, shape, dtype))

    def take(self, pack: Sequence[Tensor]) -> None:
        """Hold every later pack to the shapes of one whose upload has passed all other checks.

        Raises:
            FrameError: Another, which came at the same time, was the first and has other shapes.
        """
        for name, extra in zip(self._runner.algorithm.codec.extras, pack[1:], strict=True):
            shape, dtype = self._first.setdefault(name, (tuple(extra.shape), extra.dtype))
            tensor(extra, name, shape, dtype)

    def _check(self, extras: Mapping[str, Tensor]) -> None:
        reason = self._runner.algorithm.refused(extras)
        if reason is not None:
            raise FrameError(reason)

    def extras(self, found: Any, trained: bool) -> dict[str, Tensor]:
        """Return extras by name; what has one number per parameter is nobody's to check but the plugin's.

        Args:
            found: What came.
            trained: Whether the algorithm's own must be there, which a setup round has none of.
        """
        extras = tensors(found, "extras")
        if trained:
            self._check_own(extras)
        return {name: self._here(extra) for name, extra in extras.items()}

    def _check_own(self, extras: Mapping[str, Tensor]) -> None:
        names = self._runner.algorithm.codec.extras
        missing = [name for name in names if name not in extras]
        if missing:
            raise FrameError(f"extras[{missing[0]!r}] is missing")
        self._check({name: extras[name] for name in names})

    def buffers(self, found: Any) -> dict[str, Tensor]:
        """Return batch-norm statistics: those of the model, or none."""
        server: Mapping[str, Tensor] = self._runner.buffers.server
        buffers = tensors(found, "buffers")
        if buffers and buffers.keys() != server.keys():
            raise FrameError("buffers are not those of the model")
        like = {name: tensor(one, name, tuple(server[name].shape), server[name].dtype) for name, one in buffers.items()}
        return {name: self._here(one) for name, one in like.items()}

    def batch(self, images: Any, labels: Any) -> Batch:
        """Return the images ``[B, C, H, W]`` and labels ``[B]`` behind an observed upload."""
        shape = (-1, *self._runner.facts.image_shape)
        pictures = tensor(images, "images", shape, torch.float32)
        return self._here(pictures), self._here(tensor(labels, "labels", (len(pictures),), torch.int64))

    def _here(self, found: Tensor) -> Tensor:
        return found.to(self._weights.device)
