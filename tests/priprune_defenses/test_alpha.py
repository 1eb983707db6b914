"""Equation 6 in closed form against automatic differentiation."""

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from priprune_defenses.alpha import Objective, Parameterisation
from priprune_defenses.descent import Pull, cut, descend_, layer_sizes
from priprune_plugins.layout import Layout


def network(inputs: int, hidden: int, generator: torch.Generator) -> tuple[nn.Module, Layout, Tensor, Tensor]:
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()
    images = torch.randn(4, inputs, generator=generator, dtype=torch.float64)
    return model, Layout.of(model), images, torch.randint(3, (4,), generator=generator)


def eq6(
    alpha: Tensor, loss_of, layout: Layout, mask: Tensor, weights: tuple[Tensor, Tensor], gumbel: Tensor, o: Objective
) -> tuple[Tensor, Tensor]:
    """Return Eq. 6 as printed, by way of Eq. 7's two-class softmax and Eq. 8, and the gradient g of the plain loss."""
    broadcast, own = weights
    log_pi = torch.stack([alpha.log(), (1 - alpha).log()])
    v = torch.softmax((log_pi + gumbel) / o.tau, 0)[1]  # v(1): the soft decision to share
    composed = v * broadcast + (1 - v) * own
    accuracy = loss_of(composed)
    (g,) = torch.autograd.grad(accuracy, composed, retain_graph=True)
    total = mask.sum()
    privacy = alpha.new_zeros(())
    for part in layout.slices:
        kept, size = mask[part], g[part].abs()[mask[part]]
        privacy = privacy - kept.sum() / total * (size / size.sum() * alpha[part][kept].log()).sum()
    penalised = mask if o.penalty == "all" else mask & (alpha > 0.5)
    return o.lambda_acc * accuracy + o.privacy * total * privacy + o.lambda_sha * alpha[penalised].sum(), g


@settings(max_examples=60, deadline=None)
@given(
    parameterisation=st.sampled_from(["raw", "logit"]),
    penalty=st.sampled_from(["all", "withheld"]),
    inputs=st.integers(1, 7),
    hidden=st.integers(1, 9),
    tau=st.floats(0.2, 3),
    lambda_acc=st.floats(0, 10),
    chunk=st.integers(1, 40),
    pruned=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 10**6),
)
def test_closed_form_equals_autograd(
    parameterisation: Parameterisation,
    penalty,
    inputs: int,
    hidden: int,
    tau: float,
    lambda_acc: float,
    chunk: int,
    pruned: float,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    model, layout, images, labels = network(inputs, hidden, generator)
    size = layout.num_parameters
    uniform = torch.rand(6, size, generator=generator, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
    mask = uniform[0] >= pruned
    gumbel = -(-uniform[1:3].log()).log()
    broadcast, own = uniform[3] - 0.5, uniform[4] - 0.5
    alpha = 0.02 + 0.96 * uniform[5]
    objective = Objective(parameterisation, lambda_acc, 10 / max(int(mask.sum()), 1), 0.05, tau, penalty)

    def loss_of(flat: Tensor) -> Tensor:
        logits = functional_call(model, layout.unflatten(flat), (images,))
        return nn.functional.cross_entropy(logits, labels)

    preference = (alpha - 0.5 if parameterisation == "raw" else (alpha / (1 - alpha)).log()).requires_grad_()
    at = preference + 0.5 if parameterisation == "raw" else preference.sigmoid()
    loss, grad = eq6(at, loss_of, layout, mask, (broadcast, own), gumbel, objective)
    (expected,) = torch.autograd.grad(loss, preference)

    layers = cut(layout, chunk)
    noise = ((gumbel[1] - gumbel[0]) / tau).clone()
    pull = Pull(broadcast, own, [noise[part] for layer in layers for part in layer.parts])
    start, lr = preference.detach(), 1e-6
    sizes = layer_sizes(layout, mask)
    moved = start.clone()
    descend_(objective, moved, grad, mask if pruned else None, layers, sizes, lr, pull)
    actual = (start - moved) / lr
    difference = (actual - expected)[mask].norm()
    assert difference <= 1e-4 * expected[mask].norm() + 1e-8
    assert torch.equal(moved[~mask], start[~mask])


@pytest.mark.parametrize("size", [0.0, 1e-42])
def test_a_layer_without_gradient_or_without_a_kept_coordinate_moves_by_the_penalty_alone(size: float) -> None:
    layout = Layout.of(nn.Linear(2, 2))
    mask = torch.tensor([True, True, True, True, False, False])
    objective = Objective("raw", 1.0, 0.5, 0.25, 1.0)
    moved, grad = torch.zeros(6), torch.full((6,), size)
    descend_(objective, moved, grad, mask, cut(layout, 3), layer_sizes(layout, mask), 0.5, None)
    assert moved.tolist() == [-0.125] * 4 + [0.0, 0.0]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_cover_every_layer_in_order(size: int) -> None:
    layers = cut(Layout.of(nn.Linear(3, 5)), size)
    covered = [list(range(part.start, part.stop)) for layer in layers for part in layer.parts]
    assert list(chain.from_iterable(covered)) == list(range(20)) and all(len(part) <= size for part in covered)
    assert [layer.parts[-1].stop for layer in layers] == [15, 20]
