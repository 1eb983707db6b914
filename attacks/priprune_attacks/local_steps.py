"""A client's local steps as its server knows them: how many, how large, and what else moved the weights.

Which image was in which step, and in which order an epoch drew them, is not among it.
"""

from dataclasses import dataclass

from torch import Tensor

from priprune_plugins import Observation


@dataclass(frozen=True, eq=False)
class LocalSteps:
    """What unrolling needs, all of it set or sent by the server.

    A guess's images are dealt to the steps in index order. A pass over all of them is cut into batches as a client's
    loader cuts its own, the last one shorter, and passes repeat until every step has a batch. That is exact where a
    client's data fits into one batch; otherwise it is one of many orders that the server cannot tell apart.

    Args:
        count: Steps.
        lr: Their learning rate.
        batch_size: Images a step.
        mask: ``[D]`` bool, the base mask that the client's weights were multiplied by after each step, or None.
        offset: ``[D]`` what was added to each step's gradient (SCAFFOLD's ``c - c_i``), or None.
        pull: Strength ``mu`` of FedProx's term ``mu (w - start)`` in each step's gradient.
    """

    count: int = 1
    lr: float = 0.0
    batch_size: int = 1
    mask: Tensor | None = None
    offset: Tensor | None = None
    pull: float = 0.0

    @classmethod
    def of(cls, observation: Observation, masked: bool) -> "LocalSteps":
        """Return the steps behind an upload.

        Args:
            observation: What the server holds.
            masked: Whether the attacker knows of the base mask; without it the steps move all weights.
        """
        facts = observation.facts
        return cls(
            facts.steps(observation.num_samples),
            facts.lr,
            facts.batch_size,
            observation.mask if masked else None,
            observation.offset,
            facts.proximal,
        )

    @property
    def key(self) -> tuple[float, ...]:
        """What the victims of one batch have in common; masks and offsets may differ."""
        return self.count, self.lr, self.batch_size, self.pull

    @property
    def masked_offset(self) -> Tensor | None:
        """The offset where the base mask lets weights move, or None."""
        return self.offset if self.offset is None or self.mask is None else self.offset * self.mask

    def batches(self, num_images: int) -> list[slice]:
        """Return each step's images as a slice of the ``num_images`` of a guess."""
        if self.count == 1:
            return [slice(None)]
        size = min(self.batch_size, num_images)
        one_pass = [slice(start, min(start + size, num_images)) for start in range(0, num_images, size)]
        return [one_pass[step % len(one_pass)] for step in range(self.count)]

    def shares(self, steps_done: int) -> list[float]:
        """Return how much of each step's gradient is left in the weights after ``steps_done`` steps.

        1 for plain SGD; FedProx's pull takes back a share ``lr * mu`` at every later step.
        """
        left = 1.0 - self.lr * self.pull
        return [left ** (steps_done - 1 - step) for step in range(steps_done)]
