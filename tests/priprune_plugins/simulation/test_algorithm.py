"""What an algorithm refuses."""

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.simulation.algorithm import clients_checked


def test_more_clients_a_round_than_clients_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"clients_per_round must be at most the number of clients \(10\), got 11"):
        clients_checked(10, 11)
