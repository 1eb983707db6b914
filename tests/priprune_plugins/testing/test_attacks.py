"""An attack that breaks the contract is told how."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from priprune_plugins import Client, Reconstruction, hookimpl
from priprune_plugins.testing import check_attack, observations


@dataclass(frozen=True, eq=False)
class MeanImage:
    """Guesses the public mean image, moved a little by the generator."""

    shift: float = 0.0
    extra: int = 0

    @hookimpl
    def reconstruct(self, observations: Any, generator: Any, progress: Any) -> list[Reconstruction]:
        return [self.guess(observation, generator) for observation in observations]

    def guess(self, observation: Any, generator: Any) -> Reconstruction:
        count = observation.num_images + self.extra
        noise = torch.rand(count, *observation.facts.image_shape, generator=generator) * 0.1
        images = (observation.facts.mean_image * 0.5 + noise + self.shift).contiguous()
        return Reconstruction(images, None, 0.5, torch.zeros(1))


@dataclass(frozen=True, eq=False)
class WritesObservation(MeanImage):
    def guess(self, observation: Any, generator: Any) -> Reconstruction:
        observation.upload.zero_()
        return super().guess(observation, generator)


@dataclass(frozen=True, eq=False)
class LabelTooHigh(MeanImage):
    def guess(self, observation: Any, generator: Any) -> Reconstruction:
        labels = torch.full((observation.num_images,), observation.facts.num_classes)
        return replace(super().guess(observation, generator), labels=labels)


@dataclass(frozen=True, eq=False)
class GlobalStart(MeanImage):
    def guess(self, observation: Any, generator: Any) -> Reconstruction:
        torch.rand(1)
        return super().guess(observation, generator)


@dataclass(frozen=True, eq=False)
class Ranks:
    """Scores candidates by their mean pixel."""

    bias: float = 0.0

    @hookimpl
    def identify(self, observations: Any, candidates: Any, generator: Any) -> list[torch.Tensor]:
        assert [len(offered) for offered in candidates] == [10, 11]
        return [self.scores(offered, generator) for offered in candidates]

    def scores(self, offered: Any, generator: Any) -> torch.Tensor:
        return offered.images.flatten(1).mean(1)


@dataclass(frozen=True, eq=False)
class RanksByLuck(Ranks):
    def scores(self, offered: Any, generator: Any) -> torch.Tensor:
        free = torch.Generator()
        free.seed()
        return torch.rand(len(offered), generator=free)


@dataclass(frozen=True, eq=False)
class ShufflesCandidates(Ranks):
    def scores(self, offered: Any, generator: Any) -> torch.Tensor:
        offered.images.zero_()
        return super().scores(offered, generator)


@dataclass(frozen=True, eq=False)
class Peeks(MeanImage):
    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        pass


def test_a_right_attack_passes() -> None:
    check_attack(MeanImage())
    check_attack(Ranks())


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (MeanImage(shift=0.9), "clamp them to [0, 1]"),
        (MeanImage(shift=float("nan")), "must be finite, got nan"),
        (MeanImage(extra=1), "MeanImage must give images (1, 1, 14, 14), got (2, 1, 14, 14)"),
        (WritesObservation(), "WritesObservation writes to its observations"),
        (LabelTooHigh(), "must give 1 int64 labels below 10"),
        (GlobalStart(), "GlobalStart changed torch's global generator: draw from the generator that it gets"),
        (Peeks(), "implements on_local_train_end: an attack sees only what a server sees"),
        (RanksByLuck(), "RanksByLuck gives another result the second time"),
        (ShufflesCandidates(), "ShufflesCandidates writes to its observations"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_attack_that_breaks_the_contract_is_told_how(plugin: Any, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_attack(plugin)
    assert message in str(caught.value)


def test_the_observations_are_a_real_step_with_and_without_protection() -> None:
    hidden, plain = observations()
    assert hidden.mask is not None and plain.mask is None
    assert (hidden.num_images, plain.num_images) == (1, 2)
    absent = (hidden.upload == 0).float().mean()
    # Of all coordinates 0.3 are withheld, and 0.3 of the prunable ones, all but 22, are pruned.
    assert 0.45 < absent < 0.57
    change = plain.broadcast - plain.upload
    assert torch.count_nonzero(change) > 0 and float(change.abs().max()) < 1
