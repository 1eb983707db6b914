"""TensorBoard: the figures of every round as event files; needs the extra ``track``."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from priprune_plugins import Run, Server, hookimpl
from priprune_plugins.errors import missing_extra
from priprune_plugins.scenario.writing import dump_yaml
from priprune_plugins.trackers.scalars import attack_scalars, round_scalars


@dataclass(frozen=True, eq=False)
class TensorBoard:
    """Writes event files for TensorBoard; look at them with ``tensorboard --logdir``.

    Args:
        folder: Where event files go, one folder per run; null = ``tensorboard`` in the run folder.
    """

    folder: str | None = None
    # Open files, nothing that a run must remember: after a resume they are opened anew.
    _open: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise missing_extra("tracker tensorboard", "TensorBoard", "track")

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        self._open["run"] = run

    @hookimpl
    def on_round_end(self, server: Server, record: MutableMapping[str, Any]) -> None:
        writer = self._writer(record["round"])
        layout = server.layout
        layers = [name for name, prunable in zip(layout.names, layout.prunable_layers, strict=True) if prunable]
        for name, value in round_scalars(record, layers).items():
            writer.add_scalar(name, value, record["round"])
        # What a kill would lose otherwise.
        writer.flush()

    @hookimpl
    def on_run_end(self, run: Run) -> None:
        rounds: int = run.scenario["rounds"]
        writer = self._writer(rounds)
        for name, value in attack_scalars(run.folder).items():
            writer.add_scalar(name, value, rounds)
        writer.close()
        self._open.clear()

    def _writer(self, step: int) -> Any:
        if "writer" not in self._open:
            from torch.utils.tensorboard import SummaryWriter

            run: Run = self._open["run"]
            path = run.folder / "tensorboard" if self.folder is None else Path(self.folder) / run.folder.name
            # Rounds from here on that an interrupted run has written already are hidden.
            writer = SummaryWriter(log_dir=str(path), purge_step=step)
            writer.add_text("scenario", f"```\n{dump_yaml(dict(run.scenario))}\n```", step)
            self._open["writer"] = writer
        return self._open["writer"]
