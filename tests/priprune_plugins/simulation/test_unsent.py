"""What nobody sent keeps the server's own value, by hand."""

import pytest
import torch

from priprune_plugins.simulation.unsent import Unsent

SERVER = torch.tensor([10.0, 20.0, 30.0])
SENT = [torch.tensor([True, False, False]), torch.tensor([True, True, False])]


@pytest.mark.parametrize("policy", ["previous", "holders"])
def test_only_what_no_client_sent_is_put_back(policy: str) -> None:
    unsent = Unsent.of(SENT, SERVER, policy)  # type: ignore[arg-type]
    weights = torch.tensor([1.0, 2.0, 3.0])
    assert unsent is not None
    unsent.put_back_(weights)
    assert weights.tolist() == [1.0, 2.0, 30.0]


def test_nothing_is_kept_where_somebody_sent_everything_or_zeros_are_asked_for() -> None:
    assert Unsent.of([SENT[0], None], SERVER, "previous") is None
    assert Unsent.of([SENT[0], ~SENT[0]], SERVER, "previous") is None
    assert Unsent.of(SENT, SERVER, "zeros") is None
