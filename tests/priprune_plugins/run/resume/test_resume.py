"""A run goes on where its last checkpoint left it, and ends with the bytes of a run that was never stopped."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import Interrupted, ScenarioError
from priprune_plugins.run import run_scenario, runner
from priprune_plugins.scenario import read_scenario

Run = Callable[..., Path]
Same = Callable[[Path, Path], None]
Interrupt = Callable[..., Interrupted]
Watching = Callable[..., Any]


def test_without_a_checkpoint_a_resume_begins_anew_in_the_same_folder(
    run: Run, interrupted: Interrupt, same: Same
) -> None:
    whole = run("whole")
    interrupted("stopped", "checkpoint.keep=0", match="there is no checkpoint yet")
    same(whole, run("stopped", resume=True))


def test_a_resume_of_nothing_is_a_run_and_of_a_finished_run_nothing(run: Run, watching: Watching) -> None:
    folder = run("a", resume=True)
    before = (folder / "report.html").stat().st_mtime_ns
    watcher = watching()
    assert run("a", watcher=watcher, resume=True) == folder
    assert watcher.said == [f"{folder} is finished already"]
    assert (folder / "report.html").stat().st_mtime_ns == before
    assert sorted(path.name for path in (folder / "checkpoint").iterdir()) == ["clients", "done", "trained"]
    assert not list((folder / "checkpoint" / "clients").iterdir())


@pytest.mark.parametrize("override", ["seed=0", "seed=1"], ids=["finished", "another"])
def test_a_folder_is_looked_at_before_data_are_loaded_or_workers_started(
    override: str, run: Run, scenario_file: Path, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, watcher = run("a"), watching()
    left = folder / "checkpoint" / "clients" / f"c00001-{'0' * 16}.safetensors"
    left.touch()
    monkeypatch.setattr(runner, "make_world", lambda *_: pytest.fail("data were loaded"))
    scenario = read_scenario(scenario_file, [override])

    def crew(_: object) -> Any:
        pytest.fail("workers were started")

    with pytest.raises(ScenarioError) if override == "seed=1" else nullcontext():
        run_scenario(scenario, folder, watcher, resume=True, crew=crew)
    assert left.exists() == (override == "seed=1") == (not watcher.said)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.lr=0.2", r"was made with algorithm\.lr = 0\.1, the scenario is now with algorithm\.lr = 0\.2"),
        ("seed=1", r"was made with seed = 0, the scenario is now with seed = 1"),
        (
            "defenses[0].theta=2",
            r"with defenses\[0\]\.theta = null, the scenario is now with defenses\[0\]\.theta = 2\.0",
        ),
        ("attacks=[]", r"with attacks\[0\]\.name = 'gi', the scenario is now without attacks\[0\]\.name"),
    ],
)
def test_another_scenario_is_refused_by_the_key_that_differs(
    override: str, message: str, run: Run, interrupted: Interrupt
) -> None:
    interrupted("a")
    with pytest.raises(ScenarioError, match=message):
        run("a", override, resume=True)


def test_how_often_and_how_much_stays_in_memory_may_change(run: Run, interrupted: Interrupt, same: Same) -> None:
    whole = run("whole")
    interrupted("a")
    same(whole, run("a", "checkpoint.every=1", "states.max_gib=4", resume=True))


def test_states_may_lie_elsewhere(tmp_path: Path, run: Run, interrupted: Interrupt, same: Same) -> None:
    whole, elsewhere = run("whole"), f"states.folder={tmp_path / 'fast'}"
    interrupted("a", elsewhere)
    (own,) = (tmp_path / "fast").iterdir()
    assert len(list(own.iterdir())) > 0
    assert not (tmp_path / "a" / "checkpoint" / "clients").exists()
    same(whole, run("a", elsewhere, resume=True))
    assert not list(own.iterdir())


def test_a_folder_of_something_else_is_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ScenarioError, match="is no run folder"):
        run("mine", resume=True)


def test_a_plugin_file_that_changed_is_warned_about(
    tmp_path: Path, run: Run, interrupted: Interrupt, watching: Watching
) -> None:
    interrupted("a")
    path = tmp_path / "a" / "environment.json"
    made_with = json.loads(path.read_text())
    made_with["plugins"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(made_with))
    watcher = watching()
    run("a", watcher=watcher, resume=True)
    assert any("00000000" in message and "when the run began" in message for message in watcher.warned)


def test_a_second_process_in_the_same_folder_is_refused(run: Run, watching: Watching) -> None:
    def again() -> None:
        with pytest.raises(ScenarioError, match="another process is running there"):
            run("a", "attacks=[]", "audit=null", resume=True)

    seen = watching(again, 2)
    run("a", "attacks=[]", "audit=null", watcher=seen)
    assert seen.rounds == [0, 1, 2, 3, 4]


def test_the_disk_that_states_will_need_is_told_first(run: Run, watching: Watching) -> None:
    watcher = watching()
    run("a", "attacks=[]", "audit=null", watcher=watcher)
    (line,) = watcher.said
    assert "for 6 clients: at most 0 GiB stay in memory" in line
    assert "checkpoint/clients may grow to" in line
