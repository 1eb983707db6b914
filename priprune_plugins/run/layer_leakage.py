"""Which layers leak: how much of the true gradient each layer of an attacked upload showed the server.

The measure is the simulation's, from ``audit/``; no attack sees it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from priprune_plugins.layout import Layout
from priprune_plugins.messages import LabelledSet, Observation
from priprune_plugins.run.assemble import World
from priprune_plugins.run.folder import finite, write_text
from priprune_plugins.run.observed import CaptureReader, all_captures
from priprune_plugins.run.truth import TruthStore
from priprune_plugins.simulation.buffers import load_buffers_

FILE = "layers.jsonl"
_NOT_ATTACKED = ("control", "history")


def layer_leakage(gradient: Tensor, observation: Observation, layout: Layout) -> list[dict[str, Any]]:
    """Return per layer what an upload showed of the gradient behind it.

    A coordinate is shown where the upload is neither 0 nor what the client was sent: whatever hides a coordinate, a
    mask, a defence or the broadcast in its place, it shows nothing of its gradient.

    Args:
        gradient: ``[D]`` of the loss of the true images at the broadcast.
        observation: What the server holds.
        layout: Layout of the model.

    Returns:
        Per layer: ``name``; ``mass_shown``, the share of the L1 norm of the layer's gradient at coordinates shown;
        ``cosine`` of the pseudo-gradient that the server can form, 0 elsewhere, with the gradient. Both None where the
        layer's gradient is 0.
    """
    update = observation.broadcast - observation.upload
    shown = (observation.upload != 0) & (update != 0)
    seen = torch.where(shown, update, 0.0)
    parts = zip(layout.names, *(layout.layers(vector) for vector in (gradient, seen, shown)), strict=True)
    return [{"name": name, **_of_layer(own, of_server, where)} for name, own, of_server, where in parts]


def _of_layer(gradient: Tensor, seen: Tensor, shown: Tensor) -> dict[str, float | None]:
    mass = float(gradient.abs().sum())
    if mass == 0:
        return {"mass_shown": None, "cosine": None}
    cosine = torch.nn.functional.cosine_similarity(seen, gradient, dim=0)
    return {"mass_shown": float(gradient[shown].abs().sum()) / mass, "cosine": float(cosine)}


def write_layer_leakage(folder: Path, world: World) -> None:
    """Write ``layers.jsonl`` of a run folder: one line per attacked upload of one client, in the captures' order.

    The gradient is that of one step on all images of the upload; for an upload of several steps, its first step's.

    Args:
        folder: The run folder, with its captures and their truth.
        world: Device and model.
    """
    lines = [json.dumps(finite(line)) + "\n" for line in _lines(folder, world)]
    if lines:
        write_text(folder / FILE, "".join(lines))


def _lines(folder: Path, world: World) -> Iterator[dict[str, Any]]:
    reader = CaptureReader(folder / "captures", world.facts, None, world.device)
    truth = TruthStore(folder)
    model = world.facts.build_model().to(world.device)
    for capture in all_captures(folder / "captures"):
        # In a sum of clients no one's layers are to be seen.
        if capture.group in _NOT_ATTACKED or len(capture.client_ids) > 1:
            continue
        observation = reader.observation(capture)
        gradient = _gradient(model, observation, truth.images(capture.key), world)
        layers = layer_leakage(gradient, observation, world.facts.layout)
        yield {"key": capture.key, "round": capture.round_idx, "client": capture.client_ids[0], "layers": layers}


def _gradient(model: nn.Module, observation: Observation, images: LabelledSet, world: World) -> Tensor:
    """Return ``[D]`` the loss gradient at the broadcast, coordinates that the base mask prunes 0."""
    with torch.no_grad():
        layers = world.facts.layout.unflatten(observation.broadcast).values()
        for parameter, value in zip(model.parameters(), layers, strict=True):
            parameter.copy_(value)
    load_buffers_(model, observation.broadcast_buffers)
    model.eval()
    with torch.enable_grad():
        logits = model(images.images.to(world.device))
        loss = nn.functional.cross_entropy(logits, images.labels.to(world.device))
        found = torch.autograd.grad(loss, list(model.parameters()))
    flat = torch.cat([gradient.flatten() for gradient in found])
    return flat if observation.mask is None else flat.masked_fill(~observation.mask, 0.0)
