"""Adam against torch's."""

import torch

from priprune_attacks.adam import Adam

NO_LOSS = torch.zeros(1)


def test_adam_equals_torch() -> None:
    ours = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theirs = ours.clone().requires_grad_()
    reference, adam = torch.optim.Adam([theirs], lr=0.1), Adam()
    for step in range(20):
        grad = (theirs.detach() - 0.3) * (step + 1)
        theirs.grad = grad.clone()
        reference.step()
        adam.step_(ours, grad, NO_LOSS, 0.1)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_signed_adam_sees_signs_only() -> None:
    small, large = torch.zeros(2), torch.zeros(2)
    one, other = Adam(sign=True), Adam(sign=True)
    for _ in range(3):
        one.step_(small, torch.tensor([1e-3, -5.0]), NO_LOSS, 0.1)
        other.step_(large, torch.tensor([1e3, -1e-4]), NO_LOSS, 0.1)
    assert torch.equal(small, large)
    torch.testing.assert_close(small, torch.tensor([-0.3, 0.3]))
