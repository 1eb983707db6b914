"""What everybody knows of a run, and the small values that pass between all parts."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from priprune_plugins.layout import Layout

State = MutableMapping[str, Any]
Batch = tuple[Tensor, Tensor]
Split = Literal["train", "validation", "test"]


class Progress(Protocol):
    """Takes how far an attack is; an attack calls it as often as it likes."""

    def __call__(self, share: float, loss: float | None = None) -> None:
        """Report the share done, in [0, 1], and where there is one the attack's own loss now."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy, in [0, 1], over ``num_samples`` images."""

    loss: float
    accuracy: float
    num_samples: int


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images ``[N, C, H, W]`` in [0, 1] and labels ``[N]``, on the run's device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.numel())


@dataclass(frozen=True, eq=False)
class Facts:
    """What everybody knows, the attacker too: no data, no weights.

    Args:
        build_model: Returns a fresh model on CPU with unspecified weights; it takes images in [0, 1] and standardises
            them itself.
        layout: Layout of that model.
        image_shape: ``(C, H, W)``.
        num_classes: Number of labels ``K``.
        lr: Learning rate of the clients.
        batch_size: Images a step.
        local_steps: Steps a round, or None where ``epochs`` is used.
        epochs: Passes over the client's data a round, or None.
        algorithm: Name of the FedLab algorithm.
        mean_image: ``[C, H, W]`` public mean image: the mean of the global test images, which belong to no client's
            training part.
        rounds: Rounds of the run, or None where that is not known.
        proximal: Strength ``mu`` of the term ``mu (w - start)`` in each local step's gradient; 0 without one.
    """

    build_model: Callable[[], nn.Module]
    layout: Layout
    image_shape: tuple[int, int, int]
    num_classes: int
    lr: float
    batch_size: int
    local_steps: int | None
    epochs: int | None
    algorithm: str
    mean_image: Tensor
    rounds: int | None = None
    proximal: float = 0.0

    def steps(self, num_samples: int) -> int:
        """Return how many local steps a client with ``num_samples`` images makes in a round."""
        if self.local_steps is not None:
            return self.local_steps
        return (self.epochs or 1) * -(-num_samples // self.batch_size)
