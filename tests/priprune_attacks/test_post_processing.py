"""The sharpening network learns from public images and from explicit generators only."""

import torch
from torch import Tensor

from priprune_attacks.latent import Bicubic
from priprune_attacks.post_processing import Sharpener, trained_sharpener
from priprune_plugins.generators import generator


def bars(count: int, seed: int) -> Tensor:
    """Images ``[count, 1, 12, 12]`` of three bright columns each: wide enough for a latent of 6 to tell where."""
    first = torch.randint(10, (count, 1), generator=generator(seed, "bars"))
    columns = torch.arange(12)
    bright = (columns >= first) & (columns < first + 3)
    return bright.float().view(count, 1, 1, 12).repeat(1, 1, 12, 1)


def blurred(images: Tensor) -> Tensor:
    latent = Bicubic(2, (12, 12))
    return latent.decode(latent.encode(images))


def test_a_fresh_network_changes_nothing() -> None:
    images = torch.rand(3, 2, 6, 6, generator=generator(0, "images"))
    assert torch.equal(Sharpener(2, generator(0, "net"))(images), images)


def test_it_sharpens_pictures_that_it_has_not_seen() -> None:
    sharpen = trained_sharpener(bars(64, 0), blurred, 150, generator(0, "train"))
    truth = bars(16, 1)
    before, after = blurred(truth), sharpen(blurred(truth))
    assert (after - truth).square().mean() < 0.7 * (before - truth).square().mean()
    assert 0 <= after.min() <= after.max() <= 1


def test_the_global_generator_is_left_alone_and_the_same_seed_gives_the_same_network() -> None:
    before = torch.random.get_rng_state()
    nets = [trained_sharpener(bars(8, 0), blurred, 3, generator(5, "train")) for _ in range(2)]
    assert torch.equal(before, torch.random.get_rng_state())
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad
