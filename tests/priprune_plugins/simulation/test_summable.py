"""What cannot work where the server sees sums only is refused before the first round."""

from collections.abc import Callable
from typing import Any

import pytest

from priprune_plugins import ScenarioError, hookimpl
from priprune_plugins.messages import Client, Upload
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithms.fednova import FedNova
from priprune_plugins.simulation.algorithms.pair import FedLabPair
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.summands import GroupSum

Build = Callable[..., Federation]


class Sums:
    @hookimpl
    def sum_uploads(self, summands: Any) -> list[GroupSum]:
        return []


class Chosen:
    setup_clients = (3,)

    @hookimpl
    def on_setup_round(self, client: Client) -> None:
        """One client's."""


class Plain:
    @hookimpl
    def before_upload(self, upload: Upload) -> None:
        """Leaves the upload."""


def defence(plugin: object, name: str = "sums", place: int = 0) -> Registered:
    return Registered("defenses", name, f"defenses[{place}]:{name}", plugin)


def pair(handler: str) -> FedLabPair:
    trainer = "fedlab.contrib.algorithm.fedavg:FedAvgSerialClientTrainer"
    return FedLabPair(trainer, f"fedlab.contrib.algorithm.{handler}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"absent": "holders"},
            r"absent must be previous with defense sums, got holders .* set aggregation\.absent: previous",
        ),
        ({"absent": "zeros"}, "got zeros"),
        ({"algorithm": FedNova(), "steps": None}, "set algorithm.local_steps, not epochs"),
        ({"algorithm": FedNova(option="weighted_com")}, "option weighted_com ignores samples"),
        ({"algorithm": pair("feddyn:FedDynServerHandler")}, "has a global_update of its own"),
        (
            {"plugins": (Registered("pruners", "p", "pruner:p", Chosen()), defence(Sums()))},
            r"pruner p cannot choose the clients of the setup round, \[3\], with defense sums",
        ),
        (
            {"plugins": (defence(Sums()), defence(Sums(), "more", 1))},
            "defenses must sum the uploads once at most, got defense sums and defense more",
        ),
        (
            {"plugins": (defence(Sums()), defence(Plain(), "p", 1))},
            "defenses must end with defense sums, got defense p behind it",
        ),
    ],
)
def test_what_needs_single_uploads_is_refused_at_the_start(
    federation: Build, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ScenarioError, match=message):
        federation(**{"plugins": (defence(Sums()),), **options})
