import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from priprune_plugins import Client, Rate, Reconstruction, Server, Upload, hookimpl
from priprune_plugins.masks import keep_highest
from priprune_plugins.testing import check_attack, check_defense, check_pruner, observations
from priprune_plugins.testing.stand_ins import OneMask, Withhold


@dataclass(frozen=True, eq=False)
class Good:
    rate: Rate = 0.3

    @hookimpl
    def on_round_start(self, server: Server) -> None:
        self.prune(server)

    def prune(self, server: Server) -> None:
        scores = torch.rand(server.layout.num_parameters, generator=server.generator(self))
        server.mask = keep_highest(scores, server.layout.prunable, self.rate)


@dataclass(frozen=True, eq=False)
class Biases(Good):
    def prune(self, server: Server) -> None:
        server.mask = keep_highest(server.weights.abs(), torch.ones_like(server.layout.prunable), self.rate)


@dataclass(frozen=True, eq=False)
class OneTooMany(Good):
    def prune(self, server: Server) -> None:
        super().prune(server)
        assert server.mask is not None
        server.mask[torch.nonzero(server.layout.prunable & server.mask)[0]] = False


@dataclass(frozen=True, eq=False)
class GlobalNoise(Good):
    def prune(self, server: Server) -> None:
        server.mask = keep_highest(torch.rand(server.layout.num_parameters), server.layout.prunable, self.rate)


@dataclass(frozen=True, eq=False)
class PythonNoise(Good):
    def prune(self, server: Server) -> None:
        random.random()
        super().prune(server)


@dataclass(frozen=True, eq=False)
class Never(Good):
    def prune(self, server: Server) -> None:
        pass


@dataclass(frozen=True, eq=False)
class EvalMode(Good):
    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        client.model.eval()


@dataclass(frozen=True, eq=False)
class LeavesGrad(Good):
    @hookimpl
    def on_local_train_end(self, client: Client) -> None:
        images, labels = client.batches[0]
        torch.nn.functional.cross_entropy(client.model(images), labels).backward()


@dataclass(frozen=True, eq=False)
class WritesReceived(Good):
    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        client.received.mul_(2)


@dataclass(frozen=True)
class Equal(Good):
    pass


@dataclass(frozen=True, eq=False)
class WrongDefault(Good):
    rate: Rate = 1.5


class Undecorated(Good):
    @hookimpl
    def on_round_strat(self, server: Server) -> None:
        pass


def test_a_right_pruner_passes() -> None:
    check_pruner(Good(), promises_rate=True)
    check_pruner(OneMask())


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Biases(0.6), "Biases removes 1 of 0.bias: choose among layout.prunable only"),
        (OneTooMany(), "OneTooMany removes 619 of 2060 prunable weights, rate 0.3 asks for 618"),
        (GlobalNoise(), "GlobalNoise changed torch's global generator (use client.generator or server.generator)"),
        (PythonNoise(), "PythonNoise changed Python's global generator"),
        (Never(), "Never set no mask in 3 rounds"),
        (EvalMode(), "EvalMode changed train or eval mode of the model in on_local_train_end"),
        (LeavesGrad(), "LeavesGrad changed the parameters' .grad in on_local_train_end"),
        (
            WritesReceived(),
            "pruner WritesReceived wrote to client.received in on_local_train_start, which is read-only",
        ),
        (Equal(), "Equal must have eq=False"),
        (WrongDefault(), "pruner.rate must be in [0, 1), got 1.5"),
        (Undecorated(), "implements on_round_strat, which is no hook"),
        (Good, "give an instance"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pruner_that_breaks_the_contract_is_told_how(plugin: Any, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_pruner(plugin, promises_rate=True)
    assert message in str(caught.value)


@dataclass(frozen=True, eq=False)
class Defense:
    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        return self.defended(client, upload)

    def defended(self, client: Client, upload: Upload) -> Upload | None:
        return None


@dataclass(frozen=True, eq=False)
class WritesUpload(Defense):
    def defended(self, client: Client, upload: Upload) -> Upload:
        upload.weights.zero_()
        return upload


@dataclass(frozen=True, eq=False)
class WrongDtype(Defense):
    def defended(self, client: Client, upload: Upload) -> Upload:
        return replace(upload, weights=upload.weights.double())


@dataclass(frozen=True, eq=False)
class DropsExtras(Defense):
    def defended(self, client: Client, upload: Upload) -> Upload:
        return replace(upload, extras={})


@dataclass(frozen=True, eq=False)
class RegrowsPruned(Defense):
    def defended(self, client: Client, upload: Upload) -> Upload:
        return replace(upload, weights=upload.weights + 1)


@dataclass(frozen=True, eq=False)
class NewSender(Defense):
    def defended(self, client: Client, upload: Upload) -> Upload:
        return replace(upload, num_samples=1)


@dataclass(frozen=True, eq=False)
class OtherNoise(Defense):
    def defended(self, client: Client, upload: Upload) -> Upload:
        free = torch.Generator()
        free.seed()
        return upload.withhold(torch.rand(upload.weights.shape, generator=free) < 0.5)


def test_right_defences_pass() -> None:
    check_defense(Withhold())
    check_defense(Defense())


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (WritesUpload(), "wrote to upload.weights in before_upload, which is read-only"),
        (WrongDtype(), "upload.weights must be torch.float32, got torch.float64"),
        (DropsExtras(), "DropsExtras drops or reshapes upload.extras['dc']"),
        (RegrowsPruned(), "RegrowsPruned sends nonzero weights where client.mask has pruned them"),
        (NewSender(), "NewSender changes upload.num_samples"),
        (OtherNoise(), "OtherNoise gives another result the second time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_defence_that_breaks_the_contract_is_told_how(plugin: Any, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_defense(plugin)
    assert message in str(caught.value)


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
