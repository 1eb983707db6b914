"""Clients trained by Ray workers against the same run in one process; skipped where Ray is not installed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from priprune_plugins.cluster.crew import RayCrew
from priprune_plugins.cluster.tensors import _received, _sent
from priprune_plugins.cluster.workers import RayWorkers, workers_a_gpu
from priprune_plugins.errors import ScenarioError
from priprune_plugins.run import Watcher, run_scenario
from priprune_plugins.scenario import read_scenario

pytest.importorskip("ray", reason="Ray is not installed: uv run --extra ray")

# Memories of clients (SCAFFOLD's, a learning defence's, batch-norm statistics of their own), a setup round, uploads and
# probes that are attacked, and a plugin that warns.
SCENARIO = """
name: tiny
seed: 3
device: cpu
rounds: 3
data: {name: digits, size: 14, clients: 6, partition: iid}
model: {name: small14}
algorithm: {name: scaffold, clients_per_round: 4, local_steps: 2, batch_size: 10, lr: 0.1}
aggregation: {buffers: local}
pruner: {name: snip, rate: 0.3, source: clients}
defenses: [{name: priprune}, {name: 'ray_deadly:Deadly'}]
attacks: [{name: sgi, iterations: 3, starts: [uniform], tv: [0.0001]}]
capture: {rounds: [0, 2], clients: 2}
"""
# Kills its process in the middle of a round, the first time that a client comes there.
DEADLY = """
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Deadly:
    withholds_openly = False

    @hookimpl
    def on_local_train_start(self, client):
        at = Path(__file__).with_name("deadly")
        if client.round_idx == 1 and at.exists():
            at.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if client.round_idx == 2 and client.client_id == 3:
            logging.getLogger("ray_deadly").warning("client 3 is odd")
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "ray_deadly", raising=False)
    (tmp_path / "ray_deadly.py").write_text(DEADLY, encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


class Told(Watcher):
    """Keeps what a user is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def environment_untouched() -> Iterator[None]:
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def bits(folder: Path) -> dict[str, bytes]:
    kept = [
        folder / "rounds.jsonl",
        folder / "privacy.jsonl",
        *sorted(folder.glob("captures/*")),
        *folder.glob("audit/*"),
    ]
    return {path.name: path.read_bytes() for path in kept}


@pytest.mark.slow
@pytest.mark.usefixtures("environment_untouched")
def test_two_workers_give_the_bits_of_none_also_where_one_is_killed(
    scenario: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, checked = torch.get_num_threads(), read_scenario(scenario, [])
    torch.set_num_threads(1)
    alone = run_scenario(checked, tmp_path / "alone")
    torch.set_num_threads(before)
    caplog.clear()
    deadly = tmp_path / "deadly"
    deadly.touch()
    told = Told()
    with RayWorkers(checked, "local", 2, threads=1, watcher=told) as workers:
        spread = run_scenario(checked, tmp_path / "spread", crew=partial(RayCrew, workers))
    assert not deadly.exists() and torch.get_num_threads() == before
    assert len(bits(spread)) > 8 and bits(spread) == bits(alone)
    said = [record.getMessage() for record in caplog.records]
    assert sum("died; another does its round again" in text for text in said) == 1 and "client 3 is odd" in said
    assert told.said == ["starting Ray ...", "starting 2 Ray workers ..."]


@pytest.mark.parametrize(
    ("taken", "free", "room"), [(10, 100, 8), (10, 9, 1), (0, 0, 1), (40, 80, 1)], ids=["many", "tight", "cpu", "spare"]
)
def test_a_gpu_holds_as_many_workers_as_four_fifths_of_it_have_room_for(taken: int, free: int, room: int) -> None:
    assert workers_a_gpu(taken, free) == room


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(2.5),
        torch.arange(6).view(2, 3).T,
        torch.zeros(3, dtype=torch.bfloat16),
        torch.empty(0),
        torch.arange(6.0)[::3][:1],
        torch.ones(2) > 0,
    ],
    ids=["scalar", "strided", "bfloat16", "empty", "one with a stride", "bool"],
)
def test_a_tensor_arrives_as_it_was_sent_and_can_be_written(tensor: torch.Tensor) -> None:
    arrived = _received(_sent(tensor))
    assert arrived.dtype == tensor.dtype and torch.equal(arrived, tensor)
    arrived.fill_(1)


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_an_address_that_is_none_is_refused_before_torch_is_imported(command: str) -> None:
    code = (
        "import sys; from priprune_plugins.cli import main\n"
        f"code = main([{command!r}, 'absent.yaml', '--ray', 'nowhere'])\n"
        "print(code, [name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    reason = "--ray must be host:port, ray://host:port, auto or local, got 'nowhere'"
    assert (done.stdout.strip(), done.stderr.strip()) == ("2 []", f"priprune: {reason}")


def test_workers_are_not_asked_where_what_a_trainer_keeps_is_not_known(scenario: Path, tmp_path: Path) -> None:
    stock = "fedlab.contrib.algorithm.fedavg:FedAvg"
    paths = f"trainer_path: '{stock}SerialClientTrainer', handler_path: '{stock}ServerHandler'"
    checked = read_scenario(scenario, [f"algorithm={{name: fedlab, {paths}, clients_per_round: 4}}"])
    with pytest.raises(
        ScenarioError, match="--ray: what the trainer of fedlabpair keeps of one client is not known; use priprune run"
    ):
        run_scenario(checked, tmp_path / "refused", crew=partial(RayCrew, RayWorkers(checked, "local", 2, 1)))
