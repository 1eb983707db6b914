"""The masked low-rank product against the formed matrix, by either route."""

import pytest
import torch
from torch import Tensor

from priprune_attacks import masked_product as module
from priprune_attacks.masked_product import masked_product


@pytest.mark.parametrize("most_pairs", [0, 1000], ids=["blocks", "pairs"])
@pytest.mark.parametrize("masks", [1, 2], ids=["shared", "per victim"])
def test_masked_product_is_the_product_with_the_formed_matrix_to_second_order(
    most_pairs: int, masks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_PAIRS", most_pairs)
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 30)
    draws = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.randn(2, 3, *shape, generator=draws, dtype=torch.float64).requires_grad_()

    inputs, deltas, past = rand(2, 4), rand(3, 5), rand(3, 4)
    mask = (torch.rand(masks, 5, 4, generator=draws) < 0.6).double()
    formed = (deltas.mT @ past) * mask.unsqueeze(1)
    torch.testing.assert_close(masked_product(inputs, deltas, past, mask), inputs @ formed.mT)
    run = lambda x, d, a: masked_product(x, d, a, mask)  # noqa: E731
    assert torch.autograd.gradcheck(run, (inputs, deltas, past))
    assert torch.autograd.gradgradcheck(run, (inputs, deltas, past))


def test_without_a_mask_it_is_two_thin_products() -> None:
    inputs, deltas, past = torch.ones(1, 1, 1, 2), torch.tensor([[[[3.0]]]]), torch.tensor([[[[1.0, 4.0]]]])
    assert masked_product(inputs, deltas, past, None).item() == 15.0
