"""What the server makes of extras with withheld coordinates."""

import torch

from priprune_plugins.layout import Layout
from priprune_plugins.messages import Upload
from priprune_pruners.extras import gather, gathered

LAYOUT = Layout(("a.weight", "b.weight"), (torch.Size([3]), torch.Size([2])), (True, True))


def upload(values: list[float], shared: list[int] | None = None, clients: tuple[int, ...] = (0,)) -> Upload:
    sent = None if shared is None else torch.tensor(shared, dtype=torch.bool)
    return Upload(clients, 0, 8, torch.zeros(5), sent, {"score": torch.tensor(values)})


def test_mean_is_over_those_who_sent_and_absent_is_never_zero() -> None:
    state: dict = {}
    nan = float("nan")
    gather(state, "score", upload([1.0, nan, nan, 4.0, nan], [1, 0, 0, 1, 0]))
    gather(state, "score", upload([3.0, 5.0, nan, 8.0, nan], [1, 1, 0, 1, 0]))
    assert gathered(state, "score", LAYOUT).tolist() == [2.0, 5.0, 3.5, 6.0, 6.0]
    assert state == {}


def test_layer_that_nobody_sent_counts_as_the_mean_of_all_known() -> None:
    state: dict = {}
    gather(state, "score", upload([1.0, 2.0, 3.0, 0.0, 0.0], [1, 1, 1, 0, 0]))
    assert gathered(state, "score", LAYOUT).tolist() == [1.0, 2.0, 3.0, 2.0, 2.0]


def test_last_known_value_comes_first() -> None:
    state: dict = {}
    gather(state, "score", upload([1.0] * 5, [1, 0, 0, 0, 0]))
    assert gathered(state, "score", LAYOUT, torch.full((5,), 9.0)).tolist() == [1.0, 9.0, 9.0, 9.0, 9.0]


def test_group_counts_as_its_members() -> None:
    state: dict = {}
    gather(state, "score", upload([1.0] * 5))
    gather(state, "score", upload([4.0] * 5, clients=(1, 2)))
    assert gathered(state, "score", LAYOUT).tolist() == [3.0] * 5


def test_nobody_sent_it() -> None:
    state: dict = {}
    gather(state, "other", upload([1.0] * 5))
    assert gathered(state, "other", LAYOUT) is None
