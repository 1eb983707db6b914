"""What stops a run leaves a checkpoint to go on from, and says how."""

import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from priprune_plugins.errors import Interrupted, RunError
from priprune_plugins.run import interruption

Run = Callable[..., Path]
Same = Callable[[Path, Path], None]
Interrupt = Callable[..., Interrupted]
Watching = Callable[..., Any]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_the_round_with_a_checkpoint(
    number: int, code: int, run: Run, interrupted: Interrupt, watching: Watching, same: Same
) -> None:
    whole = run("whole")
    ended = interrupted("stopped", number=number, match=r"3 rounds are in the last checkpoint; to go on: .* --resume")
    assert ended.exit_code == code
    watcher = watching()
    folder = run("stopped", watcher=watcher, resume=True)
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


def test_a_round_that_does_not_end_in_time_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, same: Same
) -> None:
    monkeypatch.setattr(interruption, "PATIENCE_SECONDS", 0.3)
    (tmp_path / "sleeper.py").write_text(SLEEPER.format(mark=str(tmp_path / "slept")))
    (tmp_path / "slept").touch()
    sleeper = "pruner={name: 'sleeper:Sleeper'}"
    whole = run("whole", sleeper)
    (tmp_path / "slept").unlink()
    started = time.monotonic()
    with pytest.raises(Interrupted, match="2 rounds are in the last checkpoint"):
        run("stopped", sleeper)
    assert time.monotonic() - started < 30
    same(whole, run("stopped", sleeper, resume=True))


def test_a_signal_in_an_attack_stops_it_at_once_and_it_goes_on_with_what_is_left(
    run: Run, interrupted: Interrupt, watching: Watching, same: Same
) -> None:
    whole = run("whole")
    interrupted("stopped", after=None, match="the training is done; to go on: ")
    watcher = watching()
    same(whole, run("stopped", watcher=watcher, resume=True))
    assert watcher.rounds == []


def test_signals_go_where_they_went_before_when_the_run_is_over(run: Run) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    run("a", "attacks=[]", "audit=null")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before


def test_a_full_disk_ends_the_run_with_one_line_and_the_last_checkpoint_whole(
    run: Run, watching: Watching, same: Same
) -> None:
    whole, found = run("whole"), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            RunError, match=r"the disk is full.*2 rounds are in the last checkpoint; to go on"
        ) as caught:
            run("stopped", watcher=watching(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, found[1])), 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, found)
    assert caught.value.exit_code == 1
    same(whole, run("stopped", resume=True))
