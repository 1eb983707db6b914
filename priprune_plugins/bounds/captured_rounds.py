"""What a run folder gives the bounds: captured weights, the masks' density, and images to take gradients of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from priprune_plugins.errors import ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.messages import LabelledSet, Observation
from priprune_plugins.run.assemble import World
from priprune_plugins.run.captures import Capture
from priprune_plugins.run.folder import read_lines
from priprune_plugins.run.observed import CaptureReader, all_captures
from priprune_plugins.run.truth import TruthStore
from priprune_plugins.simulation.buffers import load_buffers_

Source = Literal["test", "audit"]


@dataclass(frozen=True, eq=False)
class CapturedRound:
    """One round that has captures.

    Args:
        round_idx: The round.
        density: Kept / prunable, mean over the round's clients.
        observation: What the server holds of the round's first attacked upload.
        captures: The round's attacked uploads, controls left out.
    """

    round_idx: int
    density: float
    observation: Observation
    captures: Sequence[Capture]


def captured_rounds(folder: Path, world: World) -> Iterator[CapturedRound]:
    """Yield the captured rounds of a run folder, rounds ascending, so that one round's weights are held at a time.

    Raises:
        ScenarioError: No captures, or rounds.jsonl lacks the density of a captured round.
    """
    reader = CaptureReader(folder / "captures", world.facts, None, world.device)
    attacked = [capture for capture in all_captures(folder / "captures") if capture.group not in ("control", "history")]
    if not attacked:
        raise ScenarioError(f"{folder} holds no captures: run the scenario with attacks, capture or audit")
    lines: dict[int, Mapping[str, Any]] = {line["round"]: line for line in read_lines(folder / "rounds.jsonl")}
    for round_idx, group in groupby(attacked, key=lambda capture: capture.round_idx):
        captures = list(group)
        density = lines.get(round_idx, {}).get("density")
        if density is None:
            raise ScenarioError(
                f"{folder / 'rounds.jsonl'} has no density of round {round_idx}; run the scenario again"
            )
        observation = reader.observation(captures[0])
        yield CapturedRound(round_idx, density, observation, captures)


def model_of(captured: CapturedRound, world: World) -> nn.Module:
    """Return the model that the round's clients were sent, in float64 and in evaluation mode.

    Raises:
        ScenarioError: The weights are not finite.
    """
    weights = captured.observation.broadcast
    if not torch.isfinite(weights).all():
        raise ScenarioError(f"round {captured.round_idx}: the captured weights are not finite, the run diverged")
    model = world.facts.build_model().to(world.device).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), world.facts.layout.unflatten(weights).values(), strict=True):
            parameter.copy_(value)
    load_buffers_(model, captured.observation.broadcast_buffers)
    return model.eval()


def images_for(
    captured: CapturedRound, folder: Path, world: World, source: Source, samples: int, seed: int
) -> LabelledSet:
    """Return the images whose gradients are taken, on the run's device.

    Args:
        captured: The round.
        folder: The run folder.
        world: Device and test images.
        source: ``test`` = a seeded draw from the global test images, the same one at every round; ``audit`` = the true
            images behind the round's attacked uploads.
        samples: How many at most.
        seed: The scenario's seed.

    Raises:
        ScenarioError: Fewer than two images.
    """
    if source == "audit":
        truths = [TruthStore(folder).images(capture.key) for capture in captured.captures]
        pool = LabelledSet(torch.cat([t.images for t in truths]), torch.cat([t.labels for t in truths]))
        chosen = torch.arange(len(pool))[:samples]
    else:
        pool = world.data.test
        chosen = torch.randperm(len(pool), generator=generator(seed, "bound", "images"))[:samples]
    if len(chosen) < 2:
        raise ScenarioError(
            f"round {captured.round_idx}: {len(chosen)} {source} image, and a covariance needs 2 or more: "
            "give --images test, or audit more victims"
        )
    index = chosen.to(pool.labels.device)
    return LabelledSet(pool.images[index].to(world.device), pool.labels[index].to(world.device))
