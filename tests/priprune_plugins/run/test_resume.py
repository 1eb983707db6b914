"""A run goes on where its last checkpoint left it, and ends with the bytes of a run that was never stopped."""

import json
import os
import pickle
import resource
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import Interrupted, RunError, ScenarioError
from priprune_plugins.run import Watcher, interruption, run_scenario
from priprune_plugins.scenario import read_scenario

TINY = """\
rounds: 5
data: {name: digits, size: 14, train: 120, test: 40, clients: 6, partition: iid}
model: {name: mlp, hidden: [16]}
algorithm: {name: scaffold, clients_per_round: 3, batch_size: 10}
pruner: {name: random, rate: 0.3}
defenses: [{name: priprune}]
attacks: [{name: gi, iterations: 2, starts: [uniform], tv: [0.0001]}]
audit: {batch_size: 1, victims: 1, rounds: [1, 3]}
evaluation: {clients: 2}
checkpoint: {every: 2}
states: {max_gib: 0}
"""
FILES = ("rounds.jsonl", "privacy.jsonl", "checkpoint/trained/state.safetensors")
Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """Run the tiny scenario with overrides, in a folder of its own or where it was before."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")

    def run(out: str, *overrides: str, watcher: Watcher | None = None, resume: bool = False) -> Path:
        return run_scenario(read_scenario(path, overrides), tmp_path / out, watcher, resume=resume)

    return run


class At(Watcher):
    """Does something after a round, or at the first step of an attack."""

    def __init__(self, act: Callable[[], None], round_idx: int | None = None) -> None:
        self.act = act
        self.round_idx = round_idx
        self.warned: list[str] = []
        self.said: list[str] = []
        self.rounds: list[int] = []

    def round_done(self, record: Mapping[str, Any]) -> None:
        self.rounds.append(record["round"])
        if record["round"] == self.round_idx:
            self.act()

    def attack_progress(self, share: float, loss: float | None = None) -> None:
        if self.round_idx is None:
            self.act()

    def warn(self, message: str) -> None:
        self.warned.append(message)

    def say(self, message: str) -> None:
        self.said.append(message)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def nothing() -> None:
    pass


def same(one: Path, other: Path) -> None:
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    rounds = [json.loads(line)["round"] for line in (other / "timing.jsonl").read_text().splitlines()]
    assert rounds == list(range(5))
    assert sorted(path.name for path in (one / "captures").iterdir()) == sorted(
        path.name for path in (other / "captures").iterdir()
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_the_round_with_a_checkpoint(number: int, code: int, go: Go) -> None:
    whole = go("whole")
    with pytest.raises(Interrupted, match=r"3 rounds are in the last checkpoint; to go on: .* --resume") as caught:
        go("stopped", watcher=At(send(number), 2))
    assert caught.value.exit_code == code
    watcher = At(nothing, -1)
    folder = go("stopped", watcher=watcher, resume=True)
    assert watcher.rounds == [3, 4]
    same(whole, folder)


SLEEPER = """
from dataclasses import dataclass
import os, signal, time
from priprune_plugins import hookimpl

@dataclass(frozen=True, eq=False)
class Sleeper:
    @hookimpl
    def on_aggregate_end(self, server):
        if server.round_idx == 3 and not os.path.exists({mark!r}):
            open({mark!r}, "w").close()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
"""


def test_a_round_that_does_not_end_in_time_is_dropped(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.3)
    (tmp_path / "sleeper.py").write_text(SLEEPER.format(mark=str(tmp_path / "slept")))
    (tmp_path / "slept").touch()
    sleeper = "pruner={name: 'sleeper:Sleeper'}"
    whole = go("whole", sleeper)
    (tmp_path / "slept").unlink()
    started = time.monotonic()
    with pytest.raises(Interrupted, match="2 rounds are in the last checkpoint"):
        go("stopped", sleeper)
    assert time.monotonic() - started < 30
    same(whole, go("stopped", sleeper, resume=True))


def test_a_signal_in_an_attack_stops_it_at_once_and_it_goes_on_with_what_is_left(go: Go) -> None:
    whole = go("whole")
    with pytest.raises(Interrupted, match=r"the training is done; to go on: "):
        go("stopped", watcher=At(send(signal.SIGINT)))
    watcher = At(nothing, -1)
    same(whole, go("stopped", watcher=watcher, resume=True))
    assert watcher.rounds == []


def test_signals_go_where_they_went_before_when_the_run_is_over(go: Go) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    go("a", "attacks=[]", "audit=null")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before


def test_a_full_disk_ends_the_run_with_one_line_and_the_last_checkpoint_whole(go: Go) -> None:
    whole, found = go("whole"), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            RunError, match=r"the disk is full.*2 rounds are in the last checkpoint; to go on"
        ) as caught:
            go("stopped", watcher=At(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, found[1])), 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, found)
    assert caught.value.exit_code == 1
    same(whole, go("stopped", resume=True))


def test_without_a_checkpoint_a_resume_begins_anew_in_the_same_folder(go: Go) -> None:
    whole = go("whole")
    with pytest.raises(Interrupted, match="there is no checkpoint yet"):
        go("stopped", "checkpoint.keep=0", watcher=At(send(signal.SIGINT), 2))
    same(whole, go("stopped", resume=True))


def test_a_resume_of_nothing_is_a_run_and_of_a_finished_run_nothing(go: Go) -> None:
    folder = go("a", resume=True)
    before = (folder / "report.html").stat().st_mtime_ns
    watcher = At(nothing, -1)
    assert go("a", watcher=watcher, resume=True) == folder
    assert watcher.said == [f"{folder} is finished already"]
    assert (folder / "report.html").stat().st_mtime_ns == before
    assert sorted(path.name for path in (folder / "checkpoint").iterdir()) == ["clients", "done", "trained"]
    assert not list((folder / "checkpoint" / "clients").iterdir())


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
def test_another_scenario_is_refused_by_the_key_that_differs(override: str, message: str, go: Go) -> None:
    with pytest.raises(Interrupted):
        go("a", watcher=At(send(signal.SIGINT), 2))
    with pytest.raises(ScenarioError, match=message):
        go("a", override, resume=True)


def test_how_often_and_how_much_stays_in_memory_may_change(go: Go) -> None:
    whole = go("whole")
    with pytest.raises(Interrupted):
        go("a", watcher=At(send(signal.SIGINT), 2))
    same(whole, go("a", "checkpoint.every=1", "states.max_gib=4", resume=True))


def test_states_may_lie_elsewhere(go: Go, tmp_path: Path) -> None:
    whole, elsewhere = go("whole"), f"states.folder={tmp_path / 'fast'}"
    with pytest.raises(Interrupted):
        go("a", elsewhere, watcher=At(send(signal.SIGINT), 2))
    (own,) = (tmp_path / "fast").iterdir()
    assert len(list(own.iterdir())) > 0
    assert not (tmp_path / "a" / "checkpoint" / "clients").exists()
    same(whole, go("a", elsewhere, resume=True))
    assert not list(own.iterdir())


def test_a_folder_of_something_else_is_refused(go: Go, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ScenarioError, match="is no run folder"):
        go("mine", resume=True)


def test_a_plugin_file_that_changed_is_warned_about(go: Go, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        go("a", watcher=At(send(signal.SIGINT), 2))
    path = tmp_path / "a" / "environment.json"
    made_with = json.loads(path.read_text())
    made_with["plugins"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(made_with))
    watcher = At(nothing, -1)
    go("a", watcher=watcher, resume=True)
    assert any("00000000" in message and "when the run began" in message for message in watcher.warned)


def test_a_second_process_in_the_same_folder_is_refused(go: Go) -> None:
    def again() -> None:
        with pytest.raises(ScenarioError, match="another process is running there"):
            go("a", "attacks=[]", "audit=null", resume=True)

    seen = At(again, 2)
    go("a", "attacks=[]", "audit=null", watcher=seen)
    assert seen.rounds == [0, 1, 2, 3, 4]


def interrupted_with_two_checkpoints(go: Go, out: str) -> None:
    with pytest.raises(Interrupted):
        go(out, watcher=At(send(signal.SIGINT), 4))


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(go: Go, tmp_path: Path) -> None:
    whole = go("whole")
    interrupted_with_two_checkpoints(go, "a")
    state = tmp_path / "a" / "checkpoint" / "r000005" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    watcher = At(nothing, -1)
    same(whole, go("a", watcher=watcher, resume=True))
    assert watcher.rounds == [4]
    assert [message for message in watcher.warned if "passed over" in message and "r000005" in message]


def test_a_lost_client_takes_its_checkpoint_with_it_and_starts_anew_only_where_asked(go: Go, tmp_path: Path) -> None:
    interrupted_with_two_checkpoints(go, "a")
    for path in (tmp_path / "a" / "checkpoint" / "clients").glob("c00000-*"):
        path.unlink()
    with pytest.raises(RunError, match=r"no checkpoint of .* is whole: .*c00000.*to begin anew, remove"):
        go("a", resume=True)
    watcher = At(nothing, -1)
    go("a", "states.on_loss=fresh", watcher=watcher, resume=True)
    assert [message for message in watcher.warned if message.startswith("client 0 starts anew")]


class Hostile:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_pickles_in_a_run_folder_are_never_executed(go: Go, tmp_path: Path) -> None:
    interrupted_with_two_checkpoints(go, "a")
    mark, folder = tmp_path / "executed", tmp_path / "a"
    content = pickle.dumps(Hostile(mark))
    for path in [*folder.glob("checkpoint/r000005/*"), *folder.glob("captures/*"), *folder.glob("audit/*")]:
        path.write_bytes(content)
    for name in ("checkpoint/r000009", "checkpoint/trained"):
        (folder / name).mkdir()
        for file in ("state.safetensors", "checkpoint.json", "sha256", "state.pt", "state.pkl"):
            (folder / name / file).write_bytes(content)
    with pytest.raises(ScenarioError, match="cannot be read"):
        go("a", resume=True)
    assert not mark.exists()


def test_the_disk_that_states_will_need_is_told_first(go: Go) -> None:
    watcher = At(nothing, -1)
    go("a", "attacks=[]", "audit=null", watcher=watcher)
    (line,) = watcher.said
    assert "for 6 clients: at most 0 GiB stay in memory" in line
    assert "checkpoint/clients may grow to" in line
