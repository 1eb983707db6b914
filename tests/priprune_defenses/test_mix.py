import pytest
import torch

from priprune_defenses.mix import Mix
from priprune_plugins import ScenarioError


def test_the_largest_part_comes_first_and_the_random_part_from_the_rest(participate) -> None:
    seen = torch.zeros(6)
    for round_idx in range(200):
        client = participate.client(torch.zeros(6), round_idx=round_idx)
        upload = participate(Mix(largest=1 / 3, random=1 / 6), client, [torch.tensor([0.0, 0, 8, 9, 0, 0])])
        seen += ~upload.shared
    assert seen[2] == seen[3] == 200
    assert seen.sum() == 600 and (seen[[0, 1, 4, 5]] > 20).all()


def test_fractions_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"largest \+ random must be below 1, got 0.6 \+ 0.4"):
        Mix(largest=0.6, random=0.4)
