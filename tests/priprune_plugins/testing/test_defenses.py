"""A defence that breaks the contract is told how."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from priprune_plugins import Client, Upload, hookimpl
from priprune_plugins.testing import check_defense
from priprune_plugins.testing.stand_ins import Withhold


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
