"""Weights & Biases, or trackio, which has the same interface and keeps its runs on this machine; extra ``track``."""

import hashlib
import os
import sys
from collections.abc import MutableMapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from priprune_plugins import Run, ScenarioError, Server, hookimpl
from priprune_plugins.errors import missing_extra
from priprune_plugins.trackers.scalars import attack_scalars, round_scalars

_SILENT = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True, eq=False)
class Wandb:
    """Logs every round to Weights & Biases or trackio.

    Args:
        backend: ``wandb``, or ``trackio``, whose runs lie where the variable TRACKIO_DIR says.
        project: Name of the project.
        mode: ``offline`` writes into the run folder, for ``wandb sync``; ``online`` sends it away. trackio is offline.
    """

    backend: Literal["wandb", "trackio"] = "wandb"
    project: str = "priprune"
    mode: Literal["offline", "online"] = "offline"
    # An open connection, nothing that a run must remember: after a resume it is opened anew.
    _open: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.backend == "trackio" and self.mode == "online":
            raise ScenarioError("tracker wandb: trackio stays on this machine; remove mode, or choose backend: wandb")
        if find_spec(self.backend) is None:
            raise missing_extra("tracker wandb", self.backend, "track")

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        if self.mode == "offline":
            # Read when they are imported: without them they report their use to their makers, runs offline or not.
            for name, value in _SILENT.items():
                os.environ.setdefault(name, value)
        # Both greet on stdout, where a command of ours prints its result and nothing else.
        with redirect_stdout(sys.stderr):
            module = import_module(self.backend)
            begin = self._begin_wandb if self.backend == "wandb" else self._begin_trackio
            self._open["logger"] = begin(module, run)
            # trackio ends its run again at the process's end unless it is told by itself that it is over.
            self._open["finish"] = self._open["logger"].finish if self.backend == "wandb" else module.finish

    @hookimpl
    def on_round_end(self, server: Server, record: MutableMapping[str, Any]) -> None:
        layout = server.layout
        layers = [name for name, prunable in zip(layout.names, layout.prunable_layers, strict=True) if prunable]
        with redirect_stdout(sys.stderr):
            self._open["logger"].log(round_scalars(record, layers), step=record["round"])

    @hookimpl
    def on_run_end(self, run: Run) -> None:
        with redirect_stdout(sys.stderr):
            self._open["logger"].log(attack_scalars(run.folder), step=run.scenario["rounds"])
            self._open["finish"]()
        self._open.clear()

    def _begin_wandb(self, wandb: Any, run: Run) -> Any:
        return wandb.init(
            project=self.project,
            name=run.scenario["name"],
            id=_identity(run),
            resume="allow" if self.mode == "online" else None,
            dir=str(run.folder),
            config=dict(run.scenario),
            mode=self.mode,
            save_code=False,
            reinit="create_new",
            settings=wandb.Settings(console="off", disable_git=True, silent=True),
        )

    def _begin_trackio(self, trackio: Any, run: Run) -> Any:
        name = f"{run.scenario['name']}-{_identity(run)[:6]}"
        return trackio.init(project=self.project, name=name, config=dict(run.scenario), resume="allow", embed=False)


def _identity(run: Run) -> str:
    """Return the same id for a run however often it is resumed, and another for a run made anew in its place."""
    made = (run.folder / "environment.json").stat().st_mtime_ns
    return hashlib.sha256(f"{run.folder.resolve()} {made}".encode()).hexdigest()[:16]
