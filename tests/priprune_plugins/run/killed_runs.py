"""Kill a run with SIGKILL again and again, resume it each time, and compare what it leaves with an uninterrupted run.

A program of its own: it imports torch once and forks a process for every try, which takes no second instead of ten. A
third of the kills come from outside after a random time; the others hit the process at a random call just after it has
opened, renamed or removed something of its run folder, half of these while it writes a checkpoint or a client's state.

Usage: killed_runs.py SCENARIO FOLDER KILLS SEED; prints one JSON object.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from priprune_plugins.run import run_scenario
from priprune_plugins.run.environment import distributions
from priprune_plugins.scenario import Scenario, read_scenario

_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
# Times stand in these; a checkpoint.json holds the length of timing.jsonl, and sha256 its hash.
_TIMED = {"timing.jsonl", "summary.json", "report.html", "checkpoint.json", "sha256"}
_CALLS = 60


def forked(work: Callable[[], None]) -> int:
    """Return the process that does ``work``."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may run on in the copy of the parent
        traceback.print_exc()
        os._exit(1)


def ended(child: int) -> bool:
    """Wait for a process; return False if it was killed.

    Raises:
        SystemExit: It failed.
    """
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return False
    if os.waitstatus_to_exitcode(status):
        sys.exit("a run failed")
    return True


Where = Callable[[str], bool]


def anywhere(folder: Path) -> Where:
    """Tell what lies in a run folder."""
    return lambda path: path.startswith(str(folder))


def being_written(folder: Path) -> Where:
    """Tell what belongs to a checkpoint that has no name yet."""
    return lambda path: path.startswith(str(folder / "checkpoint")) and ".part" in path


def watch_files(where: Where, on_event: Callable[[], None]) -> None:
    """Call ``on_event`` whenever this process opens, renames or removes something there."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS and where(str(arguments[0])):
            on_event()

    sys.addaudithook(hook)


def uninterrupted(scenario: Scenario, folder: Path) -> tuple[int, int]:
    """Make the uninterrupted run and return how often it touched its folder, and what it was writing down."""
    notes = folder.with_suffix(".json")

    def work() -> None:
        seen: Counter[str] = Counter()
        watch_files(anywhere(folder), lambda: seen.update(["anywhere"]))
        watch_files(being_written(folder), lambda: seen.update(["written"]))
        run_scenario(scenario, folder, resume=True)
        notes.write_text(json.dumps([seen["anywhere"], seen["written"], list(sys.modules)]))

    assert ended(forked(work))
    everywhere, written, modules = json.loads(notes.read_text())
    # What a run imports late is imported here once, for all tries to come.
    for name in modules:
        if name != "__main__":
            import_module(name)
    distributions()
    return everywhere, written


def kill_near_event(where: Where, event: int, calls: int) -> None:
    """Kill this process some calls after it touches something there for the ``event``-th time."""
    left = [event, calls]

    def on_call(frame: Any, what: str, argument: Any) -> None:
        left[1] -= 1
        if left[1] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_event() -> None:
        left[0] -= 1
        if left[0] == 0:
            sys.setprofile(on_call)

    watch_files(where, on_event)


def resumed(scenario: Scenario, folder: Path, before: Callable[[], None] = lambda: None) -> int:
    """Return the process that goes on with a run."""

    def work() -> None:
        before()
        run_scenario(scenario, folder, resume=True)

    return forked(work)


def killed_by_time(scenario: Scenario, folder: Path, wait: float) -> bool:
    """Go on with a run and kill it after ``wait`` seconds; return False if it was faster."""
    child = resumed(scenario, folder)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    return not ended(child)


def killed_at_file(scenario: Scenario, folder: Path, where: Where, event: int, calls: int) -> bool:
    """Go on with a run and kill it near a file operation; return False if it ended before."""
    return not ended(resumed(scenario, folder, lambda: kill_near_event(where, event, calls)))


def standing(folder: Path) -> str:
    """Return how far a killed run was."""
    checkpoint = folder / "checkpoint"
    if list(checkpoint.glob("*.part")) or list(checkpoint.glob("clients/*.part")):
        return "writing a checkpoint"
    if (checkpoint / "trained").is_dir():
        return "after the training"
    return "between checkpoints" if list(checkpoint.glob("r*")) else "before the first checkpoint"


def differing(one: Path, other: Path) -> list[str]:
    """Return the files that are not the same bytes in two run folders, or are in one of them only."""
    found = [{str(p.relative_to(f)): p for p in f.rglob("*") if p.is_file()} for f in (one, other)]
    names = sorted(found[0].keys() | found[1].keys())
    differ = [name for name in names if _bytes(found[0], name) != _bytes(found[1], name)]
    return [name for name in differ if Path(name).name not in _TIMED and not name.startswith("cache/")]


def _bytes(files: dict[str, Path], name: str) -> bytes | None:
    return files[name].read_bytes() if name in files else None


def main() -> None:
    path, folder, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    scenario, draw = read_scenario(path), random.Random(seed)
    whole = folder / "whole"
    everywhere, written = uninterrupted(scenario, whole)
    # A second one: the first has imported for longer than a run takes, and a time drawn from that would hit nothing.
    started = time.perf_counter()
    assert ended(resumed(scenario, folder / "timed"))
    seconds = time.perf_counter() - started
    stands: Counter[str] = Counter()
    runs, wrong = 0, {}
    while stands.total() < kills:
        current, killed = folder / f"killed{runs}", True
        while killed and stands.total() < kills:
            calls = draw.randint(0, _CALLS)
            match stands.total() % 3:
                case 0:
                    killed = killed_by_time(scenario, current, draw.uniform(0, seconds))
                case 1:
                    killed = killed_at_file(scenario, current, anywhere(current), draw.randint(1, everywhere), calls)
                case _:
                    event = draw.randint(1, written)
                    killed = killed_at_file(scenario, current, being_written(current), event, calls // 5)
            stands.update([standing(current)] if killed else [])
        assert ended(resumed(scenario, current))
        rounds = [json.loads(line)["round"] for line in (current / "timing.jsonl").read_text().splitlines()]
        bad = differing(whole, current) + ([] if rounds == list(range(scenario.rounds)) else ["timing.jsonl"])
        wrong |= {current.name: bad} if bad else {}
        runs += 1
    sys.stdout.write(json.dumps({"kills": stands, "runs": runs, "wrong": wrong}))


if __name__ == "__main__":
    main()
