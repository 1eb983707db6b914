"""Mixins that give any FedLab trainer and handler a flat model, and the host the places it must reach.

Stock FedLab copies every model through CPU vectors: set_model, model_parameters, uplink_package and load are
overridden here, and nothing of an algorithm is.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from priprune_plugins.fedlab_imports import fedlab_imports
from priprune_plugins.quiet_logging import root_logger_untouched
from priprune_plugins.simulation.flat_model import flatten_, gathered_gradients
from priprune_plugins.simulation.steps import Steps

with fedlab_imports():
    from fedlab.contrib.algorithm.basic_server import SyncServerHandler


class RecordingLoss(nn.Module):
    """A criterion that keeps what it gave, without a device synchronisation.

    Args:
        criterion: The trainer's own criterion.
    """

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion
        self.losses: list[Tensor] = []

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self.criterion(output, target)
        self.losses.append(loss.detach())
        return loss

    def drain(self) -> float | None:
        """Return the mean loss since the last call, or None where there was none."""
        mean = float(torch.stack(self.losses).mean()) if self.losses else None
        self.losses.clear()
        return mean


class FlatModelMixin:
    """Stores ``_model`` flat; expects FedLab's ModelMaintainer behind it in the method resolution order."""

    flat: Tensor
    _model: nn.Module

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        with root_logger_untouched():
            super().__init__(model, *args, **kwargs)  # type: ignore[call-arg]
        self.flat = flatten_(self._model)

    @property
    def model_parameters(self) -> Tensor:
        """A copy of the weights, ``[D]``, on the model's device."""
        return self.flat.clone() if hasattr(self, "flat") else flatten_(self._model)


class FlatTrainer(FlatModelMixin):
    """Mixin for a SerialClientTrainer."""

    steps: Steps | None = None
    loaded: bool = False
    parameters: list[Tensor] | None

    def setup_optim(self, *args: Any, **kwargs: Any) -> None:
        super().setup_optim(*args, **kwargs)  # type: ignore[misc]
        criterion = getattr(self, "criterion", None)
        if isinstance(criterion, nn.Module):
            self.criterion = RecordingLoss(criterion)

    def set_model(self, parameters: Tensor | None = None, id: int | None = None) -> None:  # noqa: A002 - FedLab's name
        """Load weights; the first call of a client's training keeps what the host has loaded already."""
        if self.loaded:
            self.loaded = False
            return
        source = self.parameters[id] if id is not None and self.parameters is not None else parameters
        if source is not None:
            self.flat.copy_(source)

    @property
    def model_gradients(self) -> Tensor:
        """The gradients as one vector ``[D]``, on the model's device."""
        gradient = gathered_gradients(list(self._model.parameters()))
        if self.steps is not None:
            self.steps.record(gradient)
        return gradient

    @property
    def uplink_package(self) -> list[list[Tensor]]:
        packs: list[list[Tensor]] = self.cache
        self.cache: list[list[Tensor]] = []
        return packs

    def drained_loss(self) -> float | None:
        """Return the mean training loss since the last call, or None where the trainer has no criterion."""
        criterion = getattr(self, "criterion", None)
        return criterion.drain() if isinstance(criterion, RecordingLoss) else None


class FlatHandler(FlatModelMixin):
    """Mixin for a SyncServerHandler; a round may bring fewer uploads than were asked for.

    Attributes:
        expected: Uploads that a round asks for.
        shares: While a round is aggregated each upload's share of the mean, for a rule that is no mean; else empty.
    """

    expected: int = 0
    shares: Sequence[float] = ()

    def set_model(self, parameters: Tensor) -> None:
        self.flat.copy_(parameters)

    @property
    def num_clients_per_round(self) -> int:
        return self.expected

    def load_round(self, packs: Sequence[list[Tensor]], shares: Sequence[float] = ()) -> None:
        """Aggregate a round's packs; a handler with a ``load`` of its own gets them one by one, in order."""
        asked, self.expected, self.shares = self.expected, len(packs), shares
        try:
            self._load(packs)
        finally:
            # Uploads that were dropped must not shrink the rounds to come.
            self.expected, self.shares = asked, ()

    def _load(self, packs: Sequence[list[Tensor]]) -> None:
        if type(self).load is not SyncServerHandler.load:  # type: ignore[attr-defined]
            for pack in packs:
                self.load(pack)  # type: ignore[attr-defined]
            return
        self.global_update(list(packs))  # type: ignore[attr-defined]
        self.round: int = self.round + 1


def only_averages(handler: Any) -> bool:
    """Return whether a round is to this handler the mean of the first elements of its packs, and nothing else."""
    return not any(is_overridden(type(handler), method) for method in ("load", "global_update"))


def is_overridden(handler_class: type, method: str) -> bool:
    """Return whether a SyncServerHandler has a ``method`` of its own."""
    return getattr(handler_class, method) is not getattr(SyncServerHandler, method)


def flat_trainer(trainer_class: type) -> type:
    """Return ``trainer_class`` with a flat model; names and behaviour are those of the class."""
    return type(trainer_class.__name__, (FlatTrainer, trainer_class), {"__module__": trainer_class.__module__})


def flat_handler(handler_class: type) -> type:
    """Return ``handler_class`` with a flat model."""
    return type(handler_class.__name__, (FlatHandler, handler_class), {"__module__": handler_class.__module__})
