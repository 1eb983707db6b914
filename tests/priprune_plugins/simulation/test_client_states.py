"""Clients' states live within a budget of memory, and no figure shows which of them lay in files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from priprune_plugins import Client, PluginError, RunError, Upload, hookimpl
from priprune_plugins.checkpoint.client_files import ClientFiles
from priprune_plugins.plugins import Registered
from priprune_plugins.simulation.algorithms.scaffold import Scaffold
from priprune_plugins.simulation.client_states import ClientStates, Spill
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

OneRound = Callable[[Federation, int], list[Sent]]
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Remembers:
    """Adds up each client's gradients in half precision, in place, and withholds where the sum is positive."""

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        state = client.state(self)
        if "sum" not in state:
            state |= {"sum": torch.zeros_like(client.loss_grad, dtype=torch.float16), "steps": 0}
        state["sum"].add_(client.loss_grad.half())
        state["steps"] += 1

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        state = client.state(self)
        state["last"] = state["sum"] > 0
        return upload.withhold(state["last"])


def defence(plugin: object) -> tuple[Registered, ...]:
    return (Registered("defenses", "d", "defenses[0]:d", plugin),)


def played(federated: Federation, one_round: OneRound) -> tuple[list[Tensor], list[dict[str, object]]]:
    sent = [upload.pack for round_idx in range(4) for upload in one_round(federated, round_idx)]
    weights = [*(part for pack in sent for part in pack), federated.server.weights, federated.handler.global_c]
    states = [dict(federated.states.clients.open(c).get("defenses[0]:d", {})) for c in range(12)]
    return weights, states


@pytest.mark.parametrize("max_bytes", [0, 40_000])
def test_states_in_files_change_no_bit_and_no_type(
    max_bytes: int, federation: Callable[..., Federation], one_round: OneRound, tmp_path: Path
) -> None:
    inside, outside = (federation(Scaffold(), defence(Remembers())) for _ in range(2))
    outside.states.clients.spill_to(Spill(ClientFiles(tmp_path, CPU), max_bytes), {})
    (weights, states), (same_weights, same_states) = played(inside, one_round), played(outside, one_round)
    assert all(map(torch.equal, weights, same_weights))
    for state, same in zip(states, same_states, strict=True):
        assert state["steps"] == same["steps"]
        for name in ("sum", "last"):
            one, other = state[name], same[name]
            assert isinstance(one, Tensor)
            assert isinstance(other, Tensor)
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def in_memory(states: ClientStates) -> set[int]:
    return set(states._resident)


def filled(tmp_path: Path, clients: int, max_bytes: int, on_loss: str = "fail") -> ClientStates:
    states = ClientStates()
    states.spill_to(Spill(ClientFiles(tmp_path, CPU), max_bytes, on_loss), {})  # type: ignore[arg-type]
    for client_id in range(clients):
        states.open(client_id)["d"] = {"w": torch.full((100,), float(client_id))}
        states.settle(client_id)
    return states


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    states = filled(tmp_path, 4, max_bytes=1200)
    assert in_memory(states) == {1, 2, 3}
    states.open(1)
    states.settle(1)
    states.open(0)
    states.settle(0)
    assert in_memory(states) == {3, 1, 0}
    assert list(states.known()) == [0, 1, 2, 3]


def test_what_is_forgotten_takes_no_memory_and_its_files_stay(tmp_path: Path) -> None:
    states = filled(tmp_path, 4, max_bytes=800)
    states.forget()
    assert in_memory(states) == set() and len(list(tmp_path.iterdir())) == 2
    assert list(states.known()) == [0, 1]


def test_the_size_of_a_state_is_told_before_a_file_is_written_and_again_where_it_grows(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    states = ClientStates()
    files = ClientFiles(tmp_path, CPU)
    states.spill_to(Spill(files, 0, sized=lambda size: told.append((size, len(list(tmp_path.iterdir()))))), {})
    for client_id, length in enumerate((0, 100, 120, 200)):
        states.open(client_id)["d"] = {"w": torch.zeros(length)}
        states.settle(client_id)
    assert [size for size, _ in told] == [400, 800]
    assert told[0][1] == 0


def test_only_the_current_version_and_those_of_checkpoints_lie_in_the_folder(tmp_path: Path) -> None:
    states = filled(tmp_path, 3, max_bytes=0)
    saved = states.save_all()
    spill = states._spill
    assert spill is not None
    spill.files.pinned = frozenset({saved[0].name})
    for client_id in range(3):
        states.open(client_id)["d"]["w"].add_(1)
        states.settle(client_id)
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 4
    assert saved[0].name in names
    assert saved[1].name not in names


def test_a_copy_of_a_state_in_a_file_changes_nothing(tmp_path: Path) -> None:
    states = filled(tmp_path, 2, max_bytes=0)
    states.copied(0)["d"]["w"].add_(1)
    assert in_memory(states) == set()
    assert torch.equal(states.open(0)["d"]["w"], torch.zeros(100))


def damaged(folder: Path, client_id: int) -> None:
    (path,) = folder.glob(f"c{client_id:05d}-*")
    path.write_bytes(path.read_bytes()[:-1])


def test_a_damaged_state_stops_the_run_by_name(tmp_path: Path) -> None:
    states = filled(tmp_path, 3, max_bytes=0)
    damaged(tmp_path, 1)
    assert torch.equal(states.open(2)["d"]["w"], torch.full((100,), 2.0))
    with pytest.raises(RunError, match=r"the state of client 1 is lost: .*damaged.*states\.on_loss=fresh"):
        states.open(1)


def test_where_asked_a_client_whose_state_is_lost_starts_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    states = filled(tmp_path, 3, max_bytes=0, on_loss="fresh")
    damaged(tmp_path, 1)
    next(tmp_path.glob("c00002-*")).unlink()
    assert states.open(1) == {}
    assert states.open(2) == {}
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "client 1 starts anew, its state is lost",
        "client 2 starts anew, its state is lost",
    ]


def test_a_state_that_no_file_holds_is_the_plugins_fault(tmp_path: Path) -> None:
    states = filled(tmp_path, 0, max_bytes=0)
    states.open(5)["defenses[0]:mine"] = {"model": object()}
    with pytest.raises(PluginError, match=r"the state of client 5\['defenses\[0\]:mine'\]\['model'\] is a object"):
        states.check_savable()
    with pytest.raises(PluginError, match=r"checkpoint\.keep: 0"):
        states.save_all()


def test_a_client_that_remembers_nothing_has_no_file(tmp_path: Path) -> None:
    states = filled(tmp_path, 0, max_bytes=0)
    states.open(5)["d"] = {}
    assert states.save_all() == {}
    assert list(states.known()) == []
    assert not list(tmp_path.iterdir())
