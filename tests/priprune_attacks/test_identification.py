"""Identification of real digits: `mini` at initialisation, random base mask .3, one image among 298 candidates.

The project's figures: the withheld mask alone names the image in 20 of 20 uploads against Largest, in 0 of 20 against
Random; the cosine of gradients names it against both.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from priprune_attacks.candidates import candidate_gradients
from priprune_attacks.gradient_identification import GradientIdentification, gradient_cosines
from priprune_attacks.mask_identification import MaskIdentification, pattern_correlations, pattern_of
from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import pseudo_gradient
from priprune_plugins import LabelledSet, Observation
from priprune_plugins.privacy.identification import identified, lineup
from priprune_plugins.testing import check_attack

VICTIMS = 8


class Probe:
    """Victims with one digit each, and lineups of digits that no victim holds."""

    def __init__(self, new_scene: Callable[..., Any], some_digits: Callable[..., Any], victims: int) -> None:
        self.images, self.labels, mean = some_digits(victims)
        images, labels, _ = some_digits(297, 1500)
        self.pool = LabelledSet(images, labels)
        self.scene = new_scene(rate=0.3, mean_image=mean)
        truths = [self.truth(v) for v in range(victims)]
        draws = torch.Generator().manual_seed(5)
        self.lineups = [lineup(truth, self.pool, 300, draws) for truth in truths]

    def truth(self, victim: int) -> LabelledSet:
        return LabelledSet(self.images[victim : victim + 1], self.labels[victim : victim + 1])

    def observe(self, withhold: Callable[[Tensor], Tensor] | None) -> list[Observation]:
        truths = [self.truth(v) for v in range(len(self.labels))]
        return [self.scene.observe(t.images, t.labels, v, withhold) for v, t in enumerate(truths)]

    def ranks(self, attack: Any, seen: list[Observation]) -> list[float]:
        offered = [one.candidates for one in self.lineups]
        scores = attack.identify(seen, offered, lambda share, loss=None: None)
        return [identified(own, one.places).rank for own, one in zip(scores, self.lineups, strict=True)]


@pytest.fixture
def probe(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> Probe:
    return Probe(new_scene, some_digits, VICTIMS)


@pytest.fixture
def defenses(probe: Probe, withheld: dict[str, Callable[..., Tensor]]) -> dict[str, Callable[[Tensor], Tensor]]:
    layout, mask = probe.scene.facts.layout, probe.scene.mask

    def over_the_mean(update: Tensor) -> Tensor:
        """PriPrune's rule at a first participation, theta 1.3."""
        means = torch.stack(
            [part[kept].abs().mean() for part, kept in zip(layout.layers(update), layout.layers(mask), strict=True)]
        )
        return (update.abs() > 1.3 * layout.spread(means)) & mask

    return {
        "largest": lambda update: withheld["largest"](update, layout, mask, 0.3),
        "random": lambda update: withheld["random"](update, layout, mask, 0.3),
        "theta": over_the_mean,
    }


@pytest.mark.parametrize("name", ["largest", "theta"])
def test_a_mask_chosen_by_size_names_the_image(
    name: str, probe: Probe, defenses: dict[str, Callable[[Tensor], Tensor]]
) -> None:
    assert probe.ranks(MaskIdentification(), probe.observe(defenses[name])) == [1.0] * VICTIMS


def test_a_random_mask_names_nobody(probe: Probe, defenses: dict[str, Callable[[Tensor], Tensor]]) -> None:
    ranks = probe.ranks(MaskIdentification(), probe.observe(defenses["random"]))
    assert 1.0 not in ranks
    assert 40 < sum(ranks) / VICTIMS < 260


@pytest.mark.parametrize("name", ["largest", "theta", "random"])
def test_the_gradient_names_the_image_whatever_is_withheld(
    name: str, probe: Probe, defenses: dict[str, Callable[[Tensor], Tensor]]
) -> None:
    assert probe.ranks(GradientIdentification(), probe.observe(defenses[name])) == [1.0] * VICTIMS


def test_an_upload_that_withholds_nothing_shows_no_mask(probe: Probe) -> None:
    bare = [replace(seen, mask=None) for seen in probe.observe(None)[:2]]
    probe.lineups = probe.lineups[:2]
    scores = MaskIdentification().identify(bare, [one.candidates for one in probe.lineups], lambda share: None)
    assert all(bool(own.isnan().all()) for own in scores)


def test_a_hidden_mask_still_shows_where_gradients_are_zero(probe: Probe) -> None:
    # Random .9 hidden behind the broadcast: what is unchanged is withheld or has no gradient.
    draws = torch.Generator().manual_seed(3)
    hidden = []
    for seen in probe.observe(None):
        kept = torch.rand(seen.upload.shape, generator=draws) < 0.1
        hidden.append(replace(seen, upload=torch.where(kept, seen.upload, seen.broadcast)))
    assert probe.ranks(MaskIdentification(pattern="unchanged"), hidden) == [1.0] * VICTIMS


def test_the_pattern_is_read_from_bytes_within_what_the_server_pruned(probe: Probe) -> None:
    seen = replace(
        probe.observe(None)[0],
        broadcast=torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0]),
        upload=torch.tensor([0.0, 2.0, 3.5, 0.0, 0.1]),
        mask=torch.tensor([True, True, True, True, True]),
    )
    suspected, known = pattern_of(seen, "withheld")
    assert suspected.tolist() == [True, False, False, False, False]
    assert known.tolist() == [True, True, True, False, False]
    suspected, known = pattern_of(seen, "unchanged")
    assert suspected.tolist() == [False, False, True, False, False]
    assert known.tolist() == [False, True, True, False, False]


def test_scores_are_the_cosine_and_the_correlation_written_out(
    probe: Probe, defenses: dict[str, Callable[[Tensor], Tensor]]
) -> None:
    scene = probe.scene
    scene.weights = scene.weights.double()
    truth, layout = probe.truth(0), scene.facts.layout
    seen = scene.observe(truth.images.double(), truth.labels, 0, defenses["largest"])
    offered = LabelledSet(probe.pool.images[:3].double(), probe.pool.labels[:3])
    gradients = [scene.gradient(offered.images[i : i + 1], offered.labels[i : i + 1]) for i in range(3)]
    target = pseudo_gradient(seen, mask="recovered")
    cosines = [torch.cosine_similarity(g * target.mask, target.gradient, dim=0) for g in gradients]
    assert torch.allclose(gradient_cosines(seen, target, offered), torch.stack(cosines), rtol=1e-6)
    suspected, known = pattern_of(seen, "withheld")
    total, expected = 0, torch.zeros(3, dtype=torch.float64)
    for part in layout.slices:
        where = known[part]
        if 0 < int(suspected[part].sum()) < int(where.sum()):
            total += int(where.sum())
            for i, gradient in enumerate(gradients):
                pair = torch.stack([gradient[part][where].abs(), suspected[part][where].double()])
                expected[i] += int(where.sum()) * pair.corrcoef()[0, 1]
    (parts,) = candidate_gradients(model_at(scene.facts, seen.broadcast, {}), layout, offered)
    assert torch.allclose(pattern_correlations(parts, suspected, known, layout), expected / total, rtol=1e-6)


@pytest.mark.parametrize("attack", [GradientIdentification(), MaskIdentification(), MaskIdentification("unchanged")])
def test_the_contract_is_kept(attack: Any) -> None:
    check_attack(attack)


@pytest.mark.slow
def test_twenty_of_twenty_against_largest_and_none_against_random(
    new_scene: Callable[..., Any], some_digits: Callable[..., Any], withheld: dict[str, Callable[..., Tensor]]
) -> None:
    probe = Probe(new_scene, some_digits, 20)
    layout, mask = probe.scene.facts.layout, probe.scene.mask
    for rate in (0.1, 0.3):
        seen = probe.observe(lambda update, rate=rate: withheld["largest"](update, layout, mask, rate))  # type: ignore[misc]
        assert probe.ranks(MaskIdentification(), seen).count(1.0) == 20
    seen = probe.observe(lambda update: withheld["random"](update, layout, mask, 0.3))
    assert probe.ranks(MaskIdentification(), seen).count(1.0) == 0
