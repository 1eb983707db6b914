"""A client's round whose upload may be kept for attacks: the probe before it, or the upload itself after it."""

from collections.abc import Iterable

from torch import nn

from priprune_plugins.bridges.client_side import ClientSide, LocalRound
from priprune_plugins.bridges.probes import probe, probe_facts
from priprune_plugins.bridges.task import Task, Trained
from priprune_plugins.facts import Batch


def open_round(side: ClientSide, model: nn.Module, task: Task, loader: Iterable[Batch]) -> LocalRound:
    """Make a client's training ready; where the setting wants probes of it, one is made and kept first.

    Args:
        side: The client's side.
        model: Holds the broadcast, on the device where it will train.
        task: What the client is asked for.
        loader: Its batches.
    """
    captures = side.setting.captures
    if captures is not None and captures.probe_images is not None and captures.wants(task.round_idx, task.client_id):
        images = captures.probe_images
        captures.keep(probe(side, model, task, loader, images), probe_facts(side.setting.facts, images), "audit")
    return side.begin(model, task, loader)


def close_round(side: ClientSide, visit: LocalRound) -> Trained:
    """Return what the client sends; where the setting wants the training's own uploads, it is kept."""
    trained, captures = visit.finish(), side.setting.captures
    (client_id,) = trained.upload.client_ids
    if captures is not None and captures.probe_images is None and captures.wants(trained.upload.round_idx, client_id):
        captures.keep(trained, side.setting.facts, "training")
    return trained
