import torch
from torch import nn

from priprune_defenses.random_withhold import RandomWithhold
from priprune_plugins.messages import Upload


def test_every_coordinate_is_withheld_equally_often(participate) -> None:
    counts = torch.zeros(6)
    for round_idx in range(2000):
        client = participate.client(torch.zeros(6), round_idx=round_idx)
        counts += ~RandomWithhold(rate=0.5).before_upload(client, Upload((0,), round_idx, 20, torch.zeros(6))).shared
    deviation = (2000 * 0.5 * 0.5) ** 0.5
    assert ((counts - 1000).abs() < 4 * deviation).all()


def test_the_choice_does_not_depend_on_the_weights(participation) -> None:
    world = participation(nn.Linear(30, 10))
    client = world.client(torch.zeros(310))
    small, large = torch.zeros(310), torch.randn(310, generator=torch.Generator().manual_seed(1))
    shared = [RandomWithhold().before_upload(client, Upload((0,), 0, 20, w)).shared for w in (small, large)]
    assert torch.equal(*shared)
