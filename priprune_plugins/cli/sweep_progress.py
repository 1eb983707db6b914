"""What a terminal shows of a sweep: a line for every cell that ends, one for each that runs, and a bar of them all."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from priprune_plugins.report.numbers import duration
from priprune_plugins.sweep.jobs import Job, Outcome
from priprune_plugins.sweep.watcher import SweepWatcher


class SweepProgress(SweepWatcher):
    """Draws on one console.

    Args:
        console: Usually stderr.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        self._whole: TaskID | None = None
        self._running: dict[str, TaskID] = {}
        self._cells = self._done = self._failed = 0

    def begin(self, cells: int, done: int) -> None:
        self._cells, self._done = cells, done
        self._progress.start()
        self._whole = self._progress.add_task("sweep", total=cells, completed=done, note=self._note())

    def started(self, job: Job) -> None:
        self._running[job.key] = self._progress.add_task(f"  {job.label}", total=None, note="")

    def progress(self, job: Job, text: str) -> None:
        self._progress.update(self._running[job.key], note=text)

    def ended(self, job: Job, outcome: Outcome, cells: int) -> None:
        self._progress.remove_task(self._running.pop(job.key))
        if outcome.error is None:
            self._done += cells
            self._line(f"done    {job.label}, {duration(outcome.seconds)}")
        else:
            self._failed += cells
            self._line(f"failed  {job.label}: {outcome.error}", "red")
        if self._whole is not None:
            self._progress.update(self._whole, completed=self._done + self._failed, note=self._note())

    def warn(self, message: str) -> None:
        self._line(f"priprune: warning: {message}", "yellow")

    def stop(self) -> None:
        """Leave the terminal as it was; needed where a sweep ends by an error."""
        # Stopping what never started would print an empty line.
        if self._whole is not None:
            for task in [*self._running.values(), self._whole]:
                self._progress.remove_task(task)
            self._progress.stop()
            self._whole = None

    def _line(self, text: str, style: str = "") -> None:
        self._progress.console.print(Text(text, style=style), soft_wrap=True)

    def _note(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._done}/{self._cells} cells{failed}"


@contextmanager
def watched(quiet: bool) -> Iterator[SweepWatcher]:
    """Give a watcher, and leave the terminal as it was, however the sweep ends."""
    if quiet:
        yield SweepWatcher()
        return
    watcher = SweepProgress(Console(stderr=True))
    try:
        yield watcher
    finally:
        watcher.stop()
