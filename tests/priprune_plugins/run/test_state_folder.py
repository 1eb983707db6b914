from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.state_folder import disk_need, states_folder
from priprune_plugins.scenario.sections import StatesSection

MIB = 2**20


def test_states_lie_in_the_run_folder_or_below_another_and_never_with_those_of_another_run(tmp_path: Path) -> None:
    run, namesake = tmp_path / "a" / "run", tmp_path / "b" / "run"
    assert states_folder(run, StatesSection()) == run / "checkpoint" / "clients"
    elsewhere = StatesSection(folder=str(tmp_path / "fast"))
    assert states_folder(run, elsewhere).parent == tmp_path / "fast"
    assert states_folder(run, elsewhere) != states_folder(namesake, elsewhere)
    assert states_folder(run, elsewhere) == states_folder(run, elsewhere)


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ScenarioError, match=r"states\.folder: cannot make .*Not a directory"):
        states_folder(tmp_path / "run", StatesSection(folder=str(tmp_path / "file")))


def test_what_193_clients_of_conv2_need_is_told(tmp_path: Path) -> None:
    # 6,603,710 parameters, two float32 vectors and one bool: 10.68 GiB in all; the present and two checkpoints.
    line, _ = disk_need(6_603_710 * 9, 193, 4 * 1024 * MIB, 3, tmp_path / "clients")
    assert "clients' states take 56.7 MiB each, 11 GiB for 193 clients: at most 4 GiB stay in memory" in line
    assert f"{tmp_path / 'clients'} may grow to 32 GiB" in line


def test_a_disk_that_is_too_small_is_known_and_small_states_are_not_worth_a_word(tmp_path: Path) -> None:
    assert disk_need(2**60, 1000, 0, 3, tmp_path)[1]
    assert disk_need(MIB, 100, 4 * 1024 * MIB, 3, tmp_path) == ("", False)
    assert disk_need(0, 100, 0, 3, tmp_path) == ("", False)
