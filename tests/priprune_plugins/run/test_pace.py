import pytest

from priprune_plugins.run.pace import Pace
from priprune_plugins.scenario.sections import CheckpointSection


class Clock:
    """Tells the time that it is given."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_every_n_rounds_means_just_that() -> None:
    pace = Pace(CheckpointSection(every=5), Clock())
    assert [number for number in range(1, 16) if pace.due(number)] == [5, 10, 15]


def test_by_time_none_is_due_before_its_seconds() -> None:
    clock = Clock()
    pace = Pace(CheckpointSection(seconds=60), clock)
    clock.now = 59.9
    assert not pace.due(1)
    clock.now = 60.0
    assert pace.due(2)


@pytest.mark.parametrize(("cost", "wait"), [(0.3, 60.0), (6.0, 200.0)])
def test_writing_takes_at_most_three_percent_of_the_time(cost: float, wait: float) -> None:
    clock = Clock()
    pace = Pace(CheckpointSection(seconds=60), clock)
    clock.now = 1000.0
    pace.wrote(cost)
    clock.now = 1000.0 + wait - 0.1
    assert not pace.due(1)
    clock.now = 1000.0 + wait + 0.1
    assert pace.due(1)
    assert cost / wait <= 0.03 + 1e-9
