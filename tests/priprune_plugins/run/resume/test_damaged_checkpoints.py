"""What is damaged, lost or forged in a run folder is told, passed over or refused, and never executed."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import Interrupted, RunError, ScenarioError

Run = Callable[..., Path]
Same = Callable[[Path, Path], None]
Interrupt = Callable[..., Interrupted]
Watching = Callable[..., Any]


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    tmp_path: Path, run: Run, interrupted: Interrupt, watching: Watching, same: Same
) -> None:
    whole = run("whole")
    interrupted("a", after=4)  # two checkpoints
    state = tmp_path / "a" / "checkpoint" / "r000005" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    watcher = watching()
    same(whole, run("a", watcher=watcher, resume=True))
    assert watcher.rounds == [4]
    assert [message for message in watcher.warned if "passed over" in message and "r000005" in message]


def test_a_lost_client_takes_its_checkpoint_with_it_and_starts_anew_only_where_asked(
    tmp_path: Path, run: Run, interrupted: Interrupt, watching: Watching
) -> None:
    interrupted("a", after=4)  # two checkpoints
    for path in (tmp_path / "a" / "checkpoint" / "clients").glob("c00000-*"):
        path.unlink()
    with pytest.raises(RunError, match=r"no checkpoint of .* is whole: .*c00000.*to begin anew, remove"):
        run("a", resume=True)
    watcher = watching()
    run("a", "states.on_loss=fresh", watcher=watcher, resume=True)
    assert [message for message in watcher.warned if message.startswith("client 0 starts anew")]


class Hostile:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_pickles_in_a_run_folder_are_never_executed(tmp_path: Path, run: Run, interrupted: Interrupt) -> None:
    interrupted("a", after=4)  # two checkpoints
    mark, folder = tmp_path / "executed", tmp_path / "a"
    content = pickle.dumps(Hostile(mark))
    for path in [*folder.glob("checkpoint/r000005/*"), *folder.glob("captures/*"), *folder.glob("audit/*")]:
        path.write_bytes(content)
    for name in ("checkpoint/r000009", "checkpoint/trained"):
        (folder / name).mkdir()
        for file in ("state.safetensors", "checkpoint.json", "sha256", "state.pt", "state.pkl"):
            (folder / name / file).write_bytes(content)
    with pytest.raises(ScenarioError, match="cannot be read"):
        run("a", resume=True)
    assert not mark.exists()
