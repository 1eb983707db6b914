"""The contract suite over all defences, and what holds for a client that never took part."""

import pytest
import torch

from priprune_defenses.dp import DP
from priprune_defenses.largest import Largest
from priprune_defenses.mix import Mix
from priprune_defenses.priprune import PriPrune
from priprune_defenses.random_withhold import RandomWithhold
from priprune_defenses.release import Release
from priprune_defenses.secagg import SecAgg
from priprune_plugins.testing.contracts import DefenseContract

PLUGINS = {
    "largest": Largest(),
    "largest-pseudo": Largest(keep_local=True, scope="layer"),
    "random_withhold": RandomWithhold(schedule="learned"),
    "mix": Mix(),
    "priprune": PriPrune(alpha_init=0.5),
    "priprune-sample": PriPrune(mode="paper", compose="sample"),
    "dp": DP(clip=0.5, noise=0.1),
    "release": Release(gap=1),
    "release-open": Release(gap=0, hide=False, dither=0.0),
    "secagg": SecAgg(),
}


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=PLUGINS.keys())
class TestDefence(DefenseContract):
    @pytest.fixture(autouse=True)
    def one(self, plugin: object) -> None:
        type(self).plugin = plugin


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=PLUGINS.keys())
def test_a_client_that_never_took_part_is_evaluated_with_the_broadcast(participate, plugin: object) -> None:
    client = participate.client(torch.arange(6.0), client_id=9)
    evaluate = getattr(plugin, "on_client_evaluate", None)
    if evaluate is not None:
        evaluate(client)
    assert client.weights.tolist() == list(range(6))
    assert not any(isinstance(value, torch.Tensor) for value in participate.states.get(9, {}).values())
