"""What a joined process writes down, and for how long."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from priprune_plugins.errors import ScenarioError
from priprune_plugins.network.kept import Kept
from priprune_plugins.simulation.client_states import ClientStates, Spill

RUN = "0123456789abcdef"


@pytest.fixture
def begun(tmp_path: Path) -> Callable[[], tuple[Kept, ClientStates, Spill]]:
    """Begin with the folder that an earlier call has left."""

    def begin() -> tuple[Kept, ClientStates, Spill]:
        kept, states = Kept(tmp_path / "states", True, 2, torch.device("cpu")), ClientStates()
        spill = Spill(kept.files, 10**9)
        states.spill_to(spill, {})
        return kept, states, spill

    return begin


def test_clients_go_back_to_any_of_the_last_saves_and_to_no_older_one(begun) -> None:
    kept, states, _ = begun()
    for number in (1, 2, 3):
        states.open(4).setdefault("a", {})["t"] = torch.tensor([float(number)])
        kept.save(RUN, number, [3, 4], states)
    found = {}
    for number in (1, 2, 3):
        kept, states, spill = begun()
        found[number] = kept.resume(RUN, number, [3, 4], states, spill) and float(states.open(4)["a"]["t"])
    assert found == {1: False, 2: 2.0, 3: 3.0}
    assert len(list(kept.files.folder.glob("*.safetensors"))) == 2


def test_other_clients_another_run_and_a_damaged_file_are_not_taken_back(begun) -> None:
    kept, states, _ = begun()
    states.open(4)["a"] = {"t": torch.ones(5)}
    kept.save(RUN, 1, [3, 4], states)
    kept, states, spill = begun()
    assert not kept.resume(RUN, 1, [4, 5], states, spill)
    assert not kept.resume("f" * 16, 1, [3, 4], states, spill)
    (path,) = kept.files.folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not kept.resume(RUN, 1, [3, 4], states, spill)


def test_a_process_asks_for_the_clients_that_it_had(begun) -> None:
    kept, states, _ = begun()
    assert kept.asked_before() is None
    kept.save(RUN, 1, [3, 4], states)
    assert begun()[0].asked_before() == range(3, 5)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ScenarioError, match=r"--states: cannot make .*/a/b"):
        Kept(tmp_path / "a" / "b", True, 2, torch.device("cpu"))
