"""Inner products of per-image gradients equal those of the gradients themselves, and nothing is left behind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from priprune_plugins.bounds import gradient_gram as module
from priprune_plugins.bounds import layer_gram
from priprune_plugins.bounds.covariance import gradient_spectrum
from priprune_plugins.bounds.gradient_gram import gradient_gram

N = 7


class Twice(nn.Module):
    """One Linear layer that runs twice, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.unused, self.head = nn.Linear(36, 36), nn.Linear(2, 2), nn.Linear(36, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.fc(self.fc(images.flatten(1)).tanh()))
        return logits


class Tied(nn.Module):
    """Two Linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 4)
        self.second.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.second(self.first(images.flatten(1)).tanh()))
        return logits


class Rows(nn.Module):
    """A Linear layer over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(6, 5), nn.Linear(30, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.fc(images[:, 0]).tanh().flatten(1))
        return logits


def convs() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2, stride=1, dilation=2, bias=False),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4, 4, bias=False),
    )


def normed() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.GroupNorm(2, 4),
    )
    net[1].running_mean += 0.1
    return nn.Sequential(net, nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 4))


NETS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": convs,
    "norms, groups and dropout": normed,
    "rows": Rows,
    "layer twice": Twice,
    "tied": Tied,
    "one layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 4)),
}


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETS[request.param]().double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(1)
    return torch.rand(N, 1, 6, 6, generator=stream, dtype=torch.float64), torch.arange(N) % 4


def dense(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradients themselves ``[N, D]``, by one backward pass each."""
    net.eval()
    rows = []
    for image, label in zip(images, labels, strict=True):
        loss = cross_entropy(net(image[None]), label[None])
        grads = torch.autograd.grad(loss, list(net.parameters()), materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([grad.reshape(-1) for grad in grads]))
    return torch.stack(rows)


def test_gram_and_spectrum_equal_those_of_the_dense_gradients(net: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    gram = gradient_gram(net, *batch)
    gradients = dense(net, *batch)
    torch.testing.assert_close(gram, gradients @ gradients.mT, rtol=1e-12, atol=1e-14)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(gradients.mT, correction=0))  # [D, D], which is what the trick avoids
    real = eigenvalues[eigenvalues > 1e-10 * eigenvalues[-1]]
    spectrum = gradient_spectrum(gram)
    assert spectrum.law.d_star == len(real) <= N - 1
    assert spectrum.law.delta == pytest.approx(-0.5 * float(real.log2().sum()), abs=1e-6)


def test_small_blocks_and_passes_change_nothing(
    net: nn.Module, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gradient_gram(net, *batch)
    monkeypatch.setattr(layer_gram, "BLOCK_ENTRIES", 100)
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 100)
    monkeypatch.setattr(module, "_IMAGES_A_PASS", 3)
    torch.testing.assert_close(gradient_gram(net, *batch), whole, rtol=1e-12, atol=1e-14)


def test_the_model_and_the_global_generator_stay_as_they_were(net: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    net.train()
    next(net.children()).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes, state = [m.training for m in net.modules()], torch.random.get_rng_state()
    with torch.no_grad():
        gradient_gram(net, *batch)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())
    assert torch.equal(torch.random.get_rng_state(), state)
