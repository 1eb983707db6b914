"""Who may work in a run folder, and which folders go with a run that came to nothing."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.run import alone as module
from priprune_plugins.run import run_scenario
from priprune_plugins.run.alone import TakenError, alone, alone_in_new
from priprune_plugins.run.folder import new_folder
from priprune_plugins.run.state_folder import states_outside
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.sections import StatesSection


def broken_off(folder: Path, *made: Path, outside: Path | None = None) -> None:
    """Work in a new folder, make others, and fail as a bug does."""
    with pytest.raises(ValueError, match="a bug"), alone_in_new(folder, outside):
        for path in made:
            path.mkdir(parents=True)
        raise ValueError("a bug")


def test_whatever_ends_a_run_before_its_first_round_is_done_leaves_no_folder(tmp_path: Path) -> None:
    broken_off(tmp_path / "a", tmp_path / "a" / "captures")
    assert not (tmp_path / "a").exists()
    with pytest.raises(KeyboardInterrupt), alone_in_new(tmp_path / "b"):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="a bug"), alone_in_new(tmp_path / "c"):
        (tmp_path / "c" / "rounds.jsonl").touch()
        raise ValueError("a bug")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_a_folder_outside_goes_too_with_the_parents_that_were_made_for_it(tmp_path: Path) -> None:
    fast, disk = tmp_path / "disk" / "fast", tmp_path / "disk"
    broken_off(tmp_path / "a", fast / "a" / "clients", outside=fast / "a")
    assert not disk.exists()
    disk.mkdir()
    broken_off(tmp_path / "a", fast / "a", outside=fast / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
    assert not any(disk.iterdir())


def test_what_others_have_outside_stays(tmp_path: Path) -> None:
    fast = tmp_path / "fast"
    broken_off(tmp_path / "a", fast / "a", fast / "b", outside=fast / "a")
    assert [path.name for path in fast.iterdir()] == ["b"]
    broken_off(tmp_path / "a", fast / "b" / "c", outside=fast / "b")
    assert (fast / "b" / "c").is_dir()


def test_a_run_that_is_refused_leaves_no_folder_for_states(scenario_file: Path, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    given = ["attacks=[]", "audit=null", f"states.folder={tmp_path / 'fast'}", "trackers=[{name: 'late:Late'}]"]
    with pytest.raises(ScenarioError, match="states of clients here"):
        run_scenario(read_scenario(scenario_file, given), tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) in ([], ["__pycache__"])


LATE = """
from dataclasses import dataclass
from pathlib import Path
from priprune_plugins import ScenarioError, hookimpl

@dataclass(frozen=True, eq=False)
class Late:
    @hookimpl
    def on_run_start(self, run):
        if list(Path(run.scenario["states"]["folder"]).glob("a-*")):
            raise ScenarioError("states of clients here")
"""


def test_a_folder_that_another_process_took_at_once_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as other:

        def taken(folder: Path) -> None:
            new_folder(folder)
            other.enter_context(alone(folder))

        monkeypatch.setattr(module, "new_folder", taken)
        with pytest.raises(TakenError, match="another process is running there"), alone_in_new(tmp_path / "a"):
            pass
        assert (tmp_path / "a").is_dir()


def test_a_new_folder_that_cannot_be_locked_goes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:

        def unopened(*_: object) -> int:
            patched.undo()
            raise OSError(5, "Input/output error")

        patched.setattr(module.os, "open", unopened)
        with pytest.raises(OSError, match="Input/output"), alone_in_new(tmp_path / "a"):
            pass
    assert not (tmp_path / "a").exists()


def test_nobody_may_begin_in_a_folder_while_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    real: Callable[..., None] = module.shutil.rmtree

    def rmtree(path: Path, ignore_errors: bool) -> None:
        with pytest.raises(TakenError), alone(path):
            pass
        found.append(path.name)
        real(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(module.shutil, "rmtree", rmtree)
    broken_off(tmp_path / "a")
    assert found == ["a"]


def test_states_lie_outside_only_where_that_was_asked_for(tmp_path: Path) -> None:
    assert states_outside(tmp_path / "a", StatesSection()) is None
    outside = states_outside(tmp_path / "a", StatesSection(folder=str(tmp_path / "fast")))
    assert outside is not None
    assert outside.parent == tmp_path / "fast" and not outside.parent.exists()
