import torch

from priprune_defenses.largest import Largest
from priprune_plugins.messages import Upload


def test_largest_changes_are_withheld_and_ties_go_by_position(participate) -> None:
    client = participate.client(torch.zeros(6))
    upload = participate(Largest(rate=0.5), client, [torch.tensor([1.0, -2, 2, -2, 2, 0])])
    assert upload.shared.tolist() == [True, False, False, False, True, True]


def test_base_pruned_coordinates_are_never_withheld(participate) -> None:
    mask = torch.tensor([False, True, True, True, False, True])
    client = participate.client(torch.zeros(6), mask)
    upload = participate(Largest(rate=0.5), client, [torch.tensor([9.0, 1, 2, 3, 9, 0])])
    assert upload.shared.tolist() == [True, True, False, False, True, True]


def test_a_setup_round_is_ranked_by_the_scores_it_sends(participate) -> None:
    client = participate.client(torch.ones(6), round_idx=-1)
    scores = {"scores": torch.tensor([0.0, 5, -7, 1, 0, 2]), "loss": torch.tensor(1.0)}
    upload = Largest(rate=1 / 3).before_upload(client, Upload((0,), -1, 20, torch.ones(6), extras=scores))
    assert upload.shared.tolist() == [True, False, False, True, True, True]


def test_a_setup_round_without_scores_is_left_as_it_is(participate) -> None:
    client = participate.client(torch.ones(6), round_idx=-1)
    assert Largest().before_upload(client, Upload((0,), -1, 20, torch.ones(6))) is None
