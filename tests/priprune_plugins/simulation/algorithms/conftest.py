"""A quadratic problem in the host's own hands: client k's loss is ``a_k / 2 * |w - c_k|^2`` over four weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins.data.federation import FederatedImages
from priprune_plugins.data.images import ImageData
from priprune_plugins.layout import Layout
from priprune_plugins.messages import Facts, LabelledSet
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.scenario.sections import AggregationSection
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.setting import Setting

SIZE = 4


class Point(nn.Module):
    """Four weights; what it gives for an image is their distance to it."""

    def __init__(self, start: Sequence[float]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(start))

    def forward(self, images: Tensor) -> Tensor:
        return self.weights - images.flatten(1)


class Quadratic(nn.Module):
    """``a / 2 * |w - c|^2`` of the mean over a batch, with the label for ``a``."""

    def forward(self, output: Tensor, labels: Tensor) -> Tensor:
        return 0.5 * (labels * output.square().sum(1)).mean()


@dataclass(frozen=True)
class Problem:
    """Clients' centres and curvatures, and where all begin."""

    centres: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 2.0, -1.0), (0.0, 1.0, -1.0, 3.0), (-2.0, 0.5, 0.0, 1.0))
    curvatures: tuple[int, ...] = (1, 2, 3)
    start: tuple[float, ...] = (0.5, -0.5, 0.25, 0.0)
    lr: float = 0.1

    @property
    def c(self) -> Tensor:
        return torch.tensor(self.centres, dtype=torch.float64)

    @property
    def a(self) -> Tensor:
        return torch.tensor(self.curvatures, dtype=torch.float64).unsqueeze(1)

    @property
    def w(self) -> Tensor:
        return torch.tensor(self.start, dtype=torch.float64)

    def gradient(self, k: int, w: Tensor) -> Tensor:
        """The gradient of client k's loss at ``w [4]``."""
        return self.a[k] * (w - self.c[k])

    def images(self) -> FederatedImages:
        """One image a client, its centre, labelled with its curvature."""
        images, labels = self.c.float().view(-1, 1, 1, SIZE), torch.tensor(self.curvatures)
        data = ImageData(images, labels, images, labels, SIZE, mean=(0.0,), std=(1.0,))
        one = tuple(torch.tensor([k]) for k in range(len(labels)))
        none = tuple(torch.tensor([], dtype=torch.int64) for _ in one)
        return FederatedImages(data, one, none, one, LabelledSet(images, labels), None, images.mean(0))


Build = Callable[..., Federation]


@pytest.fixture
def problem() -> Problem:
    return Problem()


@pytest.fixture
def quadratic(problem: Problem) -> Build:
    """Build a federation on the problem in which all clients take part."""

    def build(algorithm: Algorithm, steps: int = 1, plugins: tuple[Registered, ...] = (), **aggregation: Any) -> Any:
        model, data = Point(problem.start), problem.images()
        count = len(problem.centres)
        facts = Facts(
            build_model=lambda: Point(problem.start),
            layout=Layout.of(model),
            image_shape=(1, 1, SIZE),
            num_classes=SIZE,
            lr=problem.lr,
            batch_size=1,
            local_steps=steps,
            epochs=None,
            algorithm="test",
            mean_image=data.mean_image,
        )
        federated = Federation(
            Setting(
                algorithm=algorithm,
                training=LocalTraining(1, 1, problem.lr, count, count),
                steps=steps,
                rounds=9,
                model=model,
                data=data,
                facts=facts,
                host=PluginHost(plugins),
                aggregation=AggregationSection(**aggregation),
                absent="previous",
                seed=1,
            )
        )
        federated.runner.trainer.criterion = Quadratic()
        return federated

    return build
