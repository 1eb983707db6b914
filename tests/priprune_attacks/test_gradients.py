"""Both engines against plain autograd: inner products, loss and input gradient."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from priprune_attacks import factors, layers, masked_product, products, weight_gradients
from priprune_attacks.gradients import FactoredGradients, PlainGradients, TargetBatch, gradients_of
from priprune_attacks.local_steps import LocalSteps
from priprune_attacks.objectives import cosine
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import Target, pseudo_gradient
from priprune_plugins.layout import Layout

CLASSES = 5


def autograd_loss(model: nn.Module, layout: Layout, images: Tensor, labels: Tensor, target: Target) -> Tensor:
    """Cosine distance of one row, images ``[B, C, H, W]``, from SGD written out with explicit weights."""
    start = torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).requires_grad_()
    steps, weights = target.steps, start
    for chosen in steps.batches(len(images)):
        logits = torch.func.functional_call(model, layout.unflatten(weights), (images[chosen],))
        loss = functional.cross_entropy(logits, labels[chosen])
        (grad,) = torch.autograd.grad(loss, weights, create_graph=True)
        if steps.count == 1:
            flat = grad
            break
        offset = torch.zeros_like(start) if steps.offset is None else steps.offset
        move = -steps.lr * (grad + offset + steps.pull * (weights - start))
        weights = weights + (move if steps.mask is None else move * steps.mask)
        flat = (start - weights) / (steps.lr * steps.count) - (offset if steps.mask is None else offset * steps.mask)
    if target.mask is not None:
        flat = flat * target.mask
    return 1 - flat @ target.gradient / (flat.norm() * target.gradient.norm())


@st.composite
def networks(draw: st.DrawFn) -> nn.Sequential:
    """Random stacks of convolutions, pooling and linear layers on 2x8x8 images; activations in place now and then."""
    layers: list[nn.Module] = []
    channels, size = 2, 8
    for _ in range(draw(st.integers(0, 2))):
        out, kernel = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3]))
        stride, padding, bias = draw(st.integers(1, 2)), draw(st.integers(0, 2)), draw(st.booleans())
        if size + 2 * padding < kernel:
            break
        layers.append(nn.Conv2d(channels, out, kernel, stride, padding, bias=bias))
        layers.append(draw(st.sampled_from([nn.Sigmoid(), nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh()])))
        channels, size = out, (size + 2 * padding - kernel) // stride + 1
        if size >= 4 and draw(st.booleans()):
            layers.append(draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2)])))
            size //= 2
    layers.append(nn.Flatten())
    width = channels * size * size
    for _ in range(draw(st.integers(0, 2))):
        hidden = draw(st.integers(2, 9))
        layers += [nn.Linear(width, hidden, bias=draw(st.booleans())), nn.Sigmoid()]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


@settings(max_examples=100, deadline=None)
@given(
    network=networks(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 4)),
    kept=st.sampled_from(["all", "nearly all", "shared", "shared but a few", "per victim"]),
    local=st.sampled_from(["one", "several", "pulled", "offset"]),
    most_pairs=st.sampled_from([0, 78]),
    direct_work=st.sampled_from([0, 1 << 62]),
    seed=st.integers(0, 2**31),
)
def test_factored_loss_and_input_gradient_equal_autograd(
    network: nn.Sequential,
    shape: tuple[int, int, int],
    kept: str,
    local: str,
    most_pairs: int,
    direct_work: int,
    seed: int,
) -> None:
    draws = torch.Generator().manual_seed(seed)
    network = network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    layout = Layout.of(network)
    victims, restarts, batch = shape
    images = torch.rand(victims, restarts, batch, 2, 8, 8, generator=draws, dtype=torch.float64).requires_grad_()
    labels = torch.rand(victims, restarts, batch, CLASSES, generator=draws, dtype=torch.float64).softmax(-1)
    share = {"all": 1.0, "nearly all": 0.99}.get(kept, 0.6)
    masks = torch.rand(victims, layout.num_parameters, generator=draws) < share
    base = masks.any(0)
    if kept.startswith("shared"):
        masks = masks[:1].expand_as(masks).clone()
        base = masks[0].clone()
        masks[-1, -CLASSES - 1] &= kept == "shared"
    gradients = torch.randn(victims, layout.num_parameters, generator=draws, dtype=torch.float64)
    offsets = torch.randn(victims, layout.num_parameters, generator=draws, dtype=torch.float64)
    steps = [
        LocalSteps(
            count=1 if local == "one" else 3,
            lr=0.5,
            batch_size=2,
            mask=None if kept == "all" else mask if kept == "per victim" else base,
            offset=offset if local == "offset" else None,
            pull=0.7 if local == "pulled" else 0.0,
        )
        for mask, offset in zip(masks, offsets, strict=True)
    ]
    rows = zip(gradients, masks, steps, strict=True)
    targets = [Target(g, g * m, None if kept == "all" else m, s) for g, m, s in rows]
    expected = torch.stack(
        [
            torch.stack(
                [autograd_loss(network, layout, images[v, r], labels[v, r], targets[v]) for r in range(restarts)]
            )
            for v in range(victims)
        ]
    )
    (expected_grad,) = torch.autograd.grad(expected.sum(), images)

    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    engine = gradients_of(network.requires_grad_(False), layout, (2, 8, 8), CLASSES)
    assert isinstance(engine, FactoredGradients)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_MOST_PAIRS", most_pairs)
        patch.setattr(masked_product, "_MOST_PAIRS", most_pairs)
        patch.setattr(layers, "DIRECT_WORK", direct_work)
        patch.setattr(weight_gradients, "DIRECT_WORK", direct_work)
        loss = cosine(engine.products(images, labels, TargetBatch(targets, layout)))
        (grad,) = torch.autograd.grad(loss.sum(), images)

    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-7, atol=1e-9 * float(expected_grad.abs().max() + 1e-300))


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("batch", [1, 4, 20])
def test_float32_on_a_convolutional_net_agrees_to_1e_minus_5(
    new_scene: Callable[..., object], some_digits: Callable[..., tuple[Tensor, Tensor, Tensor]], rate: float, batch: int
) -> None:
    victim = new_scene(rate=rate)
    images, labels, _ = some_digits(batch)
    seen = victim.observe(images, labels)
    target = pseudo_gradient(seen)
    model = model_at(seen.facts, target.point, {})
    draws = torch.Generator().manual_seed(1)
    guess = torch.rand(1, 1, batch, 1, 28, 28, generator=draws).requires_grad_()
    probabilities = functional.one_hot(labels, 62).float().view(1, 1, batch, 62)
    engine = gradients_of(model, seen.facts.layout, (1, 28, 28), 62)
    assert isinstance(engine, FactoredGradients)

    loss = cosine(engine.products(guess, probabilities, TargetBatch([target], seen.facts.layout)))
    (grad,) = torch.autograd.grad(loss.sum(), guess)
    expected = autograd_loss(model, seen.facts.layout, guess[0, 0], probabilities[0, 0], target)
    (expected_grad,) = torch.autograd.grad(expected, guess)

    assert abs(float((loss - expected).detach())) <= 1e-5
    assert float((grad - expected_grad).norm() / expected_grad.norm()) <= 1e-5


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("victims", [1, 3])
def test_thin_factors_of_a_target_change_nothing(
    new_scene: Callable[..., object],
    some_digits: Callable[..., tuple[Tensor, Tensor, Tensor]],
    rate: float,
    victims: int,
) -> None:
    victim = new_scene(rate=rate)
    images, labels, _ = some_digits(victims)
    seen = [victim.observe(images[v : v + 1], labels[v : v + 1], v) for v in range(victims)]
    # One coordinate that is zero by chance must not cost the batch its shared mask.
    seen[-1].upload[100_000] = 0.0
    targets = [pseudo_gradient(observation) for observation in seen]
    model = model_at(seen[0].facts, targets[0].point, {})
    engine = gradients_of(model, seen[0].facts.layout, (1, 28, 28), 62)
    guess = torch.rand(victims, 1, 1, 1, 28, 28, generator=torch.Generator().manual_seed(1)).requires_grad_()
    probabilities = functional.one_hot(labels, 62).float().view(victims, 1, 1, 62)

    def loss_and_gradient(batch: TargetBatch) -> tuple[Tensor, Tensor]:
        loss = cosine(engine.products(guess, probabilities, batch))
        return loss, torch.autograd.grad(loss.sum(), guess)[0]

    thin = TargetBatch(targets, seen[0].facts.layout)
    loss, grad = loss_and_gradient(thin)
    assert sum(isinstance(layer.target, factors.Factors) for layer in thin.layers) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factors, "_SMALL", 1 << 62)
        expected, expected_grad = loss_and_gradient(TargetBatch(targets, seen[0].facts.layout))
    assert float((loss - expected).abs().max()) <= 1e-5
    assert float((grad - expected_grad).norm() / expected_grad.norm()) <= 1e-5


class Twice(nn.Module):
    """Uses one layer twice, so that its recorded deltas are not its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.body, self.head = nn.Flatten(), nn.Linear(128, 128), nn.Linear(128, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.body(self.flatten(images)).sigmoid()
        return self.head(self.body(hidden).sigmoid())


class Mixing(nn.Module):
    """Mixes the images of its batch without any module that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.head = nn.Flatten(), nn.Linear(128, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        flat = self.flatten(images)
        return self.head(flat - flat.mean(0))


def normed(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, CLASSES))


@pytest.mark.parametrize(
    "model",
    [
        Twice(),
        Mixing(),
        normed(nn.BatchNorm2d(4)),
        normed(nn.BatchNorm2d(4, affine=False)),
        normed(nn.GroupNorm(2, 4)),
        nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Flatten(), nn.Linear(144, CLASSES)),
    ],
    ids=["layer used twice", "mixes its batch", "batch norm", "batch norm without weights", "group norm", "grouped"],
)
@pytest.mark.parametrize("num_steps", [1, 3])
def test_a_model_that_does_not_factor_is_matched_row_by_row_and_exactly(model: nn.Module, num_steps: int) -> None:
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws) / 3)
    model = model.double()
    layout = Layout.of(model)
    images = torch.rand(2, 2, 3, 2, 8, 8, generator=draws, dtype=torch.float64).requires_grad_()
    labels = torch.rand(2, 2, 3, CLASSES, generator=draws, dtype=torch.float64).softmax(-1)
    gradients = torch.randn(2, layout.num_parameters, generator=draws, dtype=torch.float64)
    masks = torch.rand(2, layout.num_parameters, generator=draws) < 0.6
    steps = LocalSteps(num_steps, 0.1, 2)
    targets = [Target(g, g * m, m, steps) for g, m in zip(gradients, masks, strict=True)]

    engine = gradients_of(model.requires_grad_(False), layout, (2, 8, 8), CLASSES)
    assert isinstance(engine, PlainGradients)
    loss = cosine(engine.products(images, labels, TargetBatch(targets, layout)))
    (grad,) = torch.autograd.grad(loss.sum(), images)
    expected = torch.stack(
        [autograd_loss(model, layout, images[v, r], labels[v, r], targets[v]) for v in range(2) for r in range(2)]
    )
    (expected_grad,) = torch.autograd.grad(expected.sum(), images)

    torch.testing.assert_close(loss.flatten(), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-7, atol=1e-12)
