"""The engine as a whole, on a net small enough to run in no time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_attacks.gi import GI
from priprune_attacks.labels import searched
from priprune_attacks.latent import Bicubic
from priprune_attacks.matching import match
from priprune_attacks.objectives import l2
from priprune_attacks.optimise import Descent
from priprune_attacks.priors import l2_norm
from priprune_attacks.recipe import Recipe, Restart, restarts
from priprune_attacks.sgi import SGI
from priprune_attacks.shared_model import model_at
from priprune_plugins import Observation, Reconstruction, ScenarioError


def quiet(share: float, loss: float | None = None) -> None:
    pass


# Plain steps: the sign of a gradient near 0 turns with the last bit, which is what batching changes.
QUICK = SGI(iterations=20, sign=False, starts=("mean", "uniform"), tv=(1e-4, 1e-1))


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4))


def batch_normed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(108, 4))


def images_of(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 8, 8, generator=draws), torch.arange(count) % 4


@pytest.fixture
def observations(new_scene: Callable[..., Any]) -> list[Observation]:
    """Three clients of one round with 1, 2 and 1 images, and one of another broadcast."""
    first, second = (new_scene(small, (1, 8, 8), 4, rate=0.3, seed=seed) for seed in (0, 1))
    seen = [first.observe(*images_of(count, seed=count), client_id=i) for i, count in enumerate([1, 2, 1])]
    return [*seen, second.observe(*images_of(1), client_id=3)]


@pytest.fixture
def exact(new_scene: Callable[..., Any]) -> list[Observation]:
    """Two clients in float64, where rounding is too small to be amplified by kinks within a few iterations."""
    victim = new_scene(small, (1, 8, 8), 4, rate=0.3, dtype=torch.float64)
    return [victim.observe(*images_of(count, seed=count), client_id=i) for i, count in enumerate([1, 2])]


def run(attack: GI, seen: Sequence[Observation], seed: int = 0) -> list[Reconstruction]:
    return attack.reconstruct(seen, torch.Generator().manual_seed(seed), quiet)


def test_one_reconstruction_per_observation_in_order(observations: list[Observation]) -> None:
    guesses = run(QUICK, observations)
    assert [guess.images.shape[0] for guess in guesses] == [1, 2, 1, 1]
    for guess in guesses:
        assert guess.failed is None
        assert guess.labels is not None
        assert 0 <= guess.images.min() <= guess.images.max() <= 1
        assert guess.trace.shape == (20,)
        assert guess.loss < guess.trace[0]


def test_same_seed_same_bits_and_no_global_randomness(observations: list[Observation]) -> None:
    before = torch.random.get_rng_state()
    first, second = run(QUICK, observations), run(QUICK, observations)
    assert torch.equal(before, torch.random.get_rng_state())
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images)
        assert one.loss == other.loss


def test_an_observation_is_attacked_alike_alone_and_in_company(exact: list[Observation]) -> None:
    (alone,) = run(QUICK, exact[1:])
    torch.testing.assert_close(alone.images, run(QUICK, exact)[1].images, rtol=1e-6, atol=1e-6)


def test_a_small_memory_budget_changes_nothing_but_the_batching(exact: list[Observation]) -> None:
    tight, wide = (run(replace(QUICK, max_gib=gib), exact) for gib in (1e-9, 2.0))
    for one, other in zip(tight, wide, strict=True):
        torch.testing.assert_close(one.images, other.images, rtol=1e-6, atol=1e-6)


def test_the_restart_with_the_lowest_loss_without_the_prior_wins(exact: list[Observation]) -> None:
    (best,) = run(QUICK, exact[:1])
    singles = [
        run(replace(QUICK, starts=(start,), tv=(tv,)), exact[:1])[0].loss for start in QUICK.starts for tv in QUICK.tv
    ]
    assert best.loss == pytest.approx(min(singles), abs=1e-8)


def test_what_cannot_be_attacked_fails_by_name_and_the_rest_goes_on(observations: list[Observation]) -> None:
    silent = replace(observations[0], upload=torch.zeros_like(observations[0].upload))
    broken = replace(observations[0], upload=observations[0].upload * torch.nan)
    nothing, not_finite, sound = run(QUICK, [silent, broken, observations[0]])
    assert nothing.failed == "the pseudo-gradient is zero at every compared coordinate"
    assert not_finite.failed == "the upload or the weights hold a number that is not finite"
    assert torch.equal(nothing.images[0], silent.facts.mean_image)
    assert sound.failed is None


def test_a_loss_that_is_never_finite_is_a_failure(observations: list[Observation]) -> None:
    recipe = Recipe(objective=lambda products: products.dot.sum(-1) * torch.nan, descent=Descent(3))
    (guess,) = match(observations[:1], recipe, torch.Generator().manual_seed(0), quiet)
    assert guess.failed == "no restart had a finite loss"


def test_progress_rises_to_one(observations: list[Observation]) -> None:
    shares: list[float] = []
    QUICK.reconstruct(observations, torch.Generator().manual_seed(0), lambda share, loss=None: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_batch_norm_is_matched_with_the_statistics_of_the_batch(new_scene: Callable[..., Any]) -> None:
    victim = new_scene(batch_normed, (1, 8, 8), 4)
    statistics = {"1.running_mean": torch.tensor([1.0, 2.0, 3.0])}
    seen = replace(victim.observe(*images_of(3)), broadcast_buffers=statistics)
    model = model_at(seen.facts, seen.broadcast, seen.broadcast_buffers)
    assert model[1].running_mean.tolist() == [1.0, 2.0, 3.0]
    assert model[1].training
    assert not model[2].inplace
    (guess,) = run(replace(QUICK, iterations=30), [seen])
    assert guess.failed is None
    assert guess.loss < 0.5 * guess.trace[0]


@pytest.mark.parametrize("option", ["starts", "tv"])
def test_an_empty_list_of_restarts_is_refused(option: str) -> None:
    with pytest.raises(ScenarioError, match=f"attack sgi: {option} must hold at least one value"):
        SGI(**{option: ()})


def test_paper_mode_is_the_literal_algorithm() -> None:
    recipe = SGI(paper=True).recipe()
    assert (recipe.descent.iterations, recipe.descent.lr, recipe.descent.schedule(0.9)) == (10_000, 0.01, 1.0)
    assert recipe.restarts == (Restart("uniform", 0.0),)
    assert recipe.labels is searched


def test_an_attack_of_another_objective_and_prior_is_a_recipe(observations: list[Observation]) -> None:
    recipe = Recipe(restarts=restarts(("mean", "black"), (0.0, 1e-4)), objective=l2, prior=l2_norm, descent=Descent(40))
    guesses = match(observations, recipe, torch.Generator().manual_seed(0), quiet)
    assert all(guess.loss < 0.2 * float(guess.trace[0]) for guess in guesses)


def test_every_label_guess_is_tried_and_the_loss_decides(exact: list[Observation]) -> None:
    seen = exact[:1]
    truth, wrong = torch.tensor([0]), torch.tensor([2])
    recipe = Recipe(labels=lambda *_: (wrong, None, truth), descent=Descent(60))
    (best,) = match(seen, recipe, torch.Generator().manual_seed(0), quiet)
    singles = [
        match(seen, replace(recipe, labels=lambda *_, one=one: (one,)), torch.Generator().manual_seed(0), quiet)[0].loss
        for one in (wrong, None, truth)
    ]
    assert best.loss == pytest.approx(min(singles), abs=1e-8)
    assert best.labels is not None
    assert best.labels.tolist() == [0]


def test_labels_and_images_are_searched_together_under_any_prior(observations: list[Observation]) -> None:
    for guess in run(replace(QUICK, labels="joint", iterations=60), observations[:1]):
        assert guess.failed is None
        assert guess.labels is not None
        assert guess.labels.tolist() == [0]


def test_a_latent_is_searched_in_place_of_pixels(observations: list[Observation]) -> None:
    recipe = Recipe(latent=lambda facts: Bicubic(4, (8, 8)), descent=Descent(10))
    (guess,) = match(observations[:1], recipe, torch.Generator().manual_seed(0), quiet)
    latent = Bicubic(4, (8, 8))
    # 2 x 2 numbers give a picture that their bicubic enlargement gives back exactly.
    fitted = torch.linalg.lstsq(
        latent.decode(torch.eye(4).view(4, 1, 2, 2)).flatten(1).T, guess.images.flatten().unsqueeze(1)
    )
    assert guess.images.shape == (1, 1, 8, 8)
    assert fitted.rank == 4


def test_penalties_see_the_model_and_the_uploads(observations: list[Observation]) -> None:
    asked: list[tuple[torch.Size, int, int]] = []

    def penalty(images: Tensor, model: nn.Module, seen: Sequence[Observation]) -> Tensor:
        asked.append((images.shape, len(list(model.parameters())), len(seen)))
        return (images - 0.25).square().mean((-1, -2, -3)).sum(-1) * 1e3

    recipe = Recipe(restarts=restarts(("uniform",), (0.0,)), penalties=(penalty,), descent=Descent(120))
    (guess,) = match(observations[:1], recipe, torch.Generator().manual_seed(0), quiet)
    assert asked[0] == (torch.Size([1, 1, 1, 1, 8, 8]), 4, 1)
    torch.testing.assert_close(guess.images, torch.full((1, 1, 8, 8), 0.25), atol=0.02, rtol=0)


def test_progress_carries_the_lowest_loss_of_the_rows_at_work(observations: list[Observation]) -> None:
    losses: list[float] = []

    def progress(share: float, loss: float | None = None) -> None:
        if loss is not None:
            losses.append(loss)

    QUICK.reconstruct(observations[:1], torch.Generator().manual_seed(0), progress)
    assert losses
    assert all(0 <= loss <= 2 for loss in losses)


def test_draws_of_one_start_differ(observations: list[Observation]) -> None:
    traces = [
        match(
            observations[:1],
            Recipe(restarts=(Restart("uniform", 0.0, draw),), descent=Descent(1)),
            torch.Generator().manual_seed(0),
            quiet,
        )[0].loss
        for draw in range(3)
    ]
    assert len(set(traces)) == 3
