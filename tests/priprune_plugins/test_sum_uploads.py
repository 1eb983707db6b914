"""The hook ``sum_uploads``: who may implement it, what it is given and what it may answer."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from priprune_plugins import PluginError, hookimpl
from priprune_plugins.messages import Server
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.summands import GroupSum, Summand

SUMMANDS = [Summand(client_id, {"update": torch.full((6,), float(client_id))}) for client_id in (3, 5, 8)]


@dataclass(frozen=True, eq=False)
class Answering:
    answer: Any

    @hookimpl
    def sum_uploads(self, summands: Any) -> Any:
        return self.answer(summands) if callable(self.answer) else self.answer


def summed(answer: Any, server: Server) -> list[GroupSum]:
    return PluginHost([Registered("defenses", "sums", "defenses[0]:sums", Answering(answer))]).sum_uploads(
        server, SUMMANDS
    )


def total(*client_ids: int, name: str = "update", length: int = 6) -> GroupSum:
    return GroupSum(client_ids, {name: torch.zeros(length)}, 8)


def test_sum_uploads_gets_every_client_and_may_lose_one(server: Server) -> None:
    def of_two(summands: list[Summand]) -> list[GroupSum]:
        vectors = {"update": summands[0].vectors["update"] + summands[2].vectors["update"]}
        return [GroupSum((3, 8), vectors, 8)]

    (group,) = summed(of_two, server)
    assert (group.client_ids, group.vectors["update"].tolist()) == ((3, 8), [11.0] * 6)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "defense sums must return a list of GroupSum, got NoneType"),
        ([total(3)], r"two or more clients, each once, got \[3\]"),
        ([total(3, 3)], r"two or more clients, each once, got \[3, 3\]"),
        ([total(3, 4)], r"two or more clients, each once, got \[3, 4\]"),
        ([total(3, 5), total(5, 8)], r"two or more clients, each once, got \[5, 8\]"),
        ([total(3, 5, name="other")], "must return sums of update in their shapes"),
        ([total(3, 5, length=5)], "must return sums of update in their shapes"),
        (lambda summands: summands[0].vectors["update"].zero_(), "wrote to update of client 3 in sum_uploads"),
    ],
)
def test_what_is_no_sum_over_two_or_more_clients_is_refused(answer: Any, message: str, server: Server) -> None:
    with pytest.raises(PluginError, match=message):
        summed(answer, server)


def test_only_a_defence_may_sum() -> None:
    with pytest.raises(PluginError, match="tracker t implements sum_uploads, which only defences may"):
        PluginHost([Registered("trackers", "t", "trackers[0]:t", Answering(None))])
