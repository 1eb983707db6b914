"""The end of a run: its mark, and what only a resume would have needed."""

from pathlib import Path

import torch

from priprune_plugins.checkpoint.checkpoints import Checkpoints
from priprune_plugins.checkpoint.client_files import ClientFiles
from priprune_plugins.checkpoint.durable import sync
from priprune_plugins.run.state_folder import states_folder
from priprune_plugins.scenario.sections import StatesSection

_LINES = ("rounds.jsonl", "timing.jsonl", "privacy.jsonl")


def finish(folder: Path, checkpoints: Checkpoints, files: ClientFiles) -> None:
    """Mark a run as finished and remove what only a resume needs.

    Args:
        folder: The run folder.
        checkpoints: Of the run.
        files: Of its clients' states.
    """
    for name in _LINES:
        if (folder / name).exists():
            sync(folder / name)
    checkpoints.mark_done()
    files.pinned = frozenset()
    files.collect(())


def is_finished(folder: Path, states: StatesSection) -> bool:
    """Whether a run is finished; what it may have been killed at is made up for."""
    checkpoints = Checkpoints(folder / "checkpoint", 1)
    if checkpoints.done:
        finish(folder, checkpoints, ClientFiles(states_folder(folder, states), torch.device("cpu")))
    return checkpoints.done
