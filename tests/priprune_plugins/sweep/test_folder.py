from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.sweep import Sweep
from priprune_plugins.sweep.folder import SweepFolder
from priprune_plugins.sweep.plan import make_plan


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweeps" / "s")


def whole(folder: SweepFolder, name: str) -> None:
    cell = folder.path / "cells" / name
    cell.mkdir(parents=True)
    (cell / "summary.json").write_text("{}")


def test_the_cells_folder_decides_what_is_done_and_the_ledger_what_became_of_the_rest(folder: SweepFolder) -> None:
    whole(folder, "rate-0.1-aaa")
    whole(folder, "rate-0.2-bbb.part")
    for key, state in (("bbb", "running"), ("ccc", "failed"), ("ddd", "done")):
        folder.ledger.write(key, state)
    assert folder.states(["aaa", "bbb", "ccc", "ddd", "eee"]) == {
        "aaa": "done",
        "bbb": "interrupted",
        "ccc": "failed",
        "ddd": "pending",
        "eee": "pending",
    }


def test_a_cell_is_found_by_its_key_whatever_it_is_called(folder: SweepFolder) -> None:
    whole(folder, "another-name_seed-1-aaa")
    assert folder.cells()["aaa"].name == "another-name_seed-1-aaa"


def test_two_sweeps_never_work_in_one_folder(folder: SweepFolder) -> None:
    with folder.locked(), pytest.raises(RunError, match="another sweep is at work"), folder.locked():
        pass
    with folder.locked():
        pass


def test_a_folder_of_something_else_is_refused(folder: SweepFolder) -> None:
    folder.check_new()
    folder.check_ours()
    folder.path.mkdir(parents=True)
    folder.check_ours()
    with pytest.raises(ScenarioError, match="give --resume"):
        folder.check_new()
    (folder.path / "thesis.tex").touch()
    with pytest.raises(ScenarioError, match=r"has no sweep\.json"):
        folder.check_ours()


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ScenarioError, match="cannot make the sweep's folder"),
        SweepFolder(tmp_path / "file/s").locked(),
    ):
        pass


def test_the_plan_is_written_with_axes_labels_and_keys(folder: SweepFolder, sweep: Callable[..., Sweep]) -> None:
    import json

    plan = make_plan(sweep("grid: {pruner.rate: [0.1], defenses: [[], [{name: mix}]]}\n"))
    with folder.locked():
        folder.prepare(plan)
    written = json.loads((folder.path / "sweep.json").read_text())
    assert written["axes"] == {"pruner.rate": ["0.1"], "defenses": ["none", "mix"]}
    assert [point["key"] for point in written["points"]] == [cell.key for cell in plan.cells]
    assert written["points"][1]["values"] == {"pruner.rate": 0.1, "defenses": "mix"}
    assert (folder.path / "sweep.yaml").read_text() == plan.sweep.source.read_text()
