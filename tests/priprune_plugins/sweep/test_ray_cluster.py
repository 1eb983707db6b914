"""The Ray executor on a Ray cluster of this machine; skipped where Ray is not installed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.sweep import Sweep
from priprune_plugins.sweep.jobs import Outcome, Progress
from priprune_plugins.sweep.plan import make_plan
from priprune_plugins.sweep.ray_cluster import RayExecutor

pytest.importorskip("ray", reason="Ray is not installed: uv run --extra ray")
MakeSweep = Callable[..., Sweep]


@pytest.fixture
def environment_untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


class Listening(RayExecutor):
    """Remembers what the jobs told."""

    def __init__(self, address: str, threads: int) -> None:
        self.events: list[Outcome | Progress] = []
        super().__init__(address, threads)

    def event(self) -> Outcome | Progress:
        self.events.append(super().event())
        return self.events[-1]


@pytest.mark.slow
@pytest.mark.usefixtures("environment_untouched")
def test_ray_gives_the_bits_of_one_cell_after_the_other_also_where_a_worker_dies(
    sweep: MakeSweep, swept: Callable[..., Any], tmp_path: Path, deadly: str, in_turn: Any
) -> None:
    grid = "grid:\n  attacks: [[{name: sgi, iterations: 2, starts: [uniform]}], [{name: gi, iterations: 2}]]\n"
    plan = make_plan(sweep(grid + deadly))
    executor = Listening("local", threads=1)
    failed, spread = swept(plan, "ray", executor)
    assert failed == {} and len(spread) == 4
    # The worker of one training was killed once and that training tried again.
    assert (tmp_path / "died").exists()
    assert spread == swept(plan, "in-turn", in_turn)[1]
    told = [event.text for event in executor.events if isinstance(event, Progress)]
    assert any(text.startswith("round ") and text.endswith("/2") for text in told), told


@pytest.mark.usefixtures("environment_untouched")
def test_an_address_without_a_cluster_is_refused_at_once() -> None:
    with pytest.raises(ScenarioError, match=r"--ray 127\.0\.0\.1:1: no Ray cluster answers \(.*refused"):
        RayExecutor("127.0.0.1:1", threads=1)
    with pytest.raises(ScenarioError, match="--ray must be host:port, ray://host:port, auto or local, got 'nowhere'"):
        RayExecutor("nowhere", threads=1)
