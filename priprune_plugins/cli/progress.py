"""What a terminal shows of a run: a progress bar while it lasts, a table at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from priprune_plugins.report.verdict import Row, finding, rows
from priprune_plugins.run.folder import read_lines
from priprune_plugins.run.watcher import Watcher


class ProgressWatcher(Watcher):
    """Draws progress on one console and the closing table on another.

    Args:
        progress_console: Usually stderr.
        table_console: Usually stdout.
    """

    def __init__(self, progress_console: Console, table_console: Console) -> None:
        self._tables = table_console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=progress_console,
        )
        self._task: TaskID | None = None
        self._accuracy: float | None = None
        self._uploads = ""

    def begin(self, name: str, rounds: int) -> None:
        self._start(f"train {name}", rounds)

    def round_done(self, record: Mapping[str, Any]) -> None:
        self._accuracy = self._accuracy if record["accuracy"] is None else record["accuracy"]
        note = f"round {record['round'] + 1}, accuracy {_figure(self._accuracy, 3)}"
        self._update(advance=1, note=note)

    def attack_begins(self, attack: str, uploads: int) -> None:
        self._uploads = f"{uploads} uploads"
        self._start(f"attack {attack}", 1.0, self._uploads)

    def attack_progress(self, share: float, loss: float | None = None) -> None:
        note = {} if loss is None else {"note": f"{self._uploads}, loss {loss:.4g}"}
        self._update(completed=share, **note)

    def attack_done(self, attack: str) -> None:
        self._update(completed=1.0)

    def resumed(self, rounds: int) -> None:
        self._update(completed=rounds)

    def say(self, message: str) -> None:
        self._progress.console.print(Text(f"priprune: {message}"), soft_wrap=True)

    def warn(self, message: str) -> None:
        self._progress.console.print(Text(f"priprune: warning: {message}", style="yellow"), soft_wrap=True)

    def finish(self, folder: Path, summary: Mapping[str, Any]) -> None:
        self.stop()
        self._tables.print(_headline(summary), soft_wrap=True)
        if summary["attacks"]:
            table = rows(summary["attacks"], list(read_lines(folder / "privacy.jsonl")))
            self._tables.print(_attacks(table))
            self._tables.print(Text(finding(table)), soft_wrap=True)

    def stop(self) -> None:
        """Leave the terminal as it was; needed where a run ends by an error."""
        # Stopping what never started would print an empty line.
        if self._task is not None:
            self._progress.stop()
            self._task = None

    def _start(self, description: str, total: float, note: str = "") -> None:
        self._progress.start()
        self._task = self._progress.add_task(description, total=total, note=note)

    def _update(self, **changes: Any) -> None:
        if self._task is not None:
            self._progress.update(self._task, **changes)


def _headline(summary: Mapping[str, Any]) -> Text:
    figures = {
        "accuracy": _figure(summary["accuracy"], 3),
        "density": _figure(summary["density"], 3),
        "withheld": _figure(summary["withheld_rate"], 3),
        "gradient mass withheld": _figure(summary["gradient_mass_withheld"], 3),
        "seconds": _figure(summary["seconds"], 1),
    }
    return Text("  ".join([str(summary["name"]), *(f"{name} {value}" for name, value in figures.items())]))


def _attacks(found: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("attack", no_wrap=True)
    for column in ("victims", "PSNR dB", "best floor dB", "NMI", "SSIM", "rank 1"):
        table.add_column(column, justify="right")
    table.add_column("positive control")
    for row in found:
        verdict = "FAILED, figures void" if row.void else "passed"
        verdict += "; upper bound" if row.granted else ""
        cells = ("void",) * 5 if row.void else _cells(row)
        table.add_row(Text(row.attack + row.where), str(row.figures["victims"]), *cells, verdict)
    return table


def _cells(row: Row) -> tuple[str, ...]:
    figures = row.figures
    return (
        _figure(figures["psnr_db"], 1),
        _figure(row.floor.get("psnr_db"), 1),
        _figure(figures["nmi"], 3),
        _figure(figures["ssim"], 3),
        _figure(figures.get("top1_share"), 2),
    )


def _figure(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
