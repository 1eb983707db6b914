"""One attack at work on a chunk of captures: observations in, answers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.generators import generator
from priprune_plugins.messages import LabelledSet, Observation, Progress, Reconstruction
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.privacy.identification import Identified, Lineup, identified, lineup
from priprune_plugins.run.assemble import World
from priprune_plugins.run.captures import Capture
from priprune_plugins.run.control_cache import Raw, cache_folder, control_name, read_control, write_control
from priprune_plugins.run.controls import control_of, without_largest
from priprune_plugins.run.observed import CaptureReader, neighbours
from priprune_plugins.run.recorder import Answer
from priprune_plugins.run.truth import TruthStore, granted


@dataclass(frozen=True, eq=False)
class Chunk:
    """Captures of one round and group that are handed over together.

    Args:
        captures: In the order of their keys.
        index: Number of the chunk within its round and group.
    """

    captures: tuple[Capture, ...]
    index: int

    @property
    def is_control(self) -> bool:
        return self.captures[0].group == "control"


@dataclass(frozen=True, eq=False)
class Attacker:
    """Calls one attack and judges who was identified; what it reconstructs is judged by the recorder.

    Args:
        attack: The attack.
        folder: The run folder.
        world: Device, test images and public facts.
        seed: The scenario's seed.
        candidates: How many pictures a true image is ranked among.
        everything: All captures of the run.
        state: What the attack remembered at the server.
    """

    attack: Registered
    folder: Path
    world: World
    seed: int
    candidates: int
    everything: Sequence[Capture]
    state: Mapping[str, Any]

    def answers(self, chunk: Chunk, progress: Progress) -> list[tuple[Answer, dict[str, Any]]]:
        """Return the attack's answers in the order of the captures, each with what else its record says."""
        host = PluginHost([self.attack])
        seen, more = self._observations(chunk)
        chooses = host.implements("identify")
        lineups = [self._lineup(capture) if chooses else None for capture in chunk.captures]
        raw = self._raw(host, chunk, seen, lineups, progress)
        found = [Answer(r.guess, _judged(r, one)) for r, one in zip(raw, lineups, strict=True)]
        return list(zip(found, more, strict=True))

    def _observations(self, chunk: Chunk) -> tuple[list[Observation], list[dict[str, Any]]]:
        world = self.world
        reader = CaptureReader(self.folder / "captures", world.facts, world.data.public, world.device)
        truth, given = TruthStore(self.folder), granted(self.attack.plugin)
        others = {other.key for capture in chunk.captures for other in neighbours(capture, self.everything)}
        seen = reader.observations(chunk.captures, self.everything, truth.labels_of(others, given, world.device))
        seen = [truth.granting(o, capture.key, given) for o, capture in zip(seen, chunk.captures, strict=True)]
        if chunk.is_control and control_of(self.attack.plugin) == "largest":
            protected = [without_largest(observation) for observation in seen]
            return [observation for observation, _ in protected], [shares for _, shares in protected]
        return seen, [{} for _ in seen]

    def _lineup(self, capture: Capture) -> Lineup:
        truth = TruthStore(self.folder).images(capture.key)
        test = self.world.data.test
        stream = generator(self.seed, "candidates", capture.key)
        drawn = lineup(truth, LabelledSet(test.images.cpu(), test.labels.cpu()), self.candidates, stream)
        device = self.world.device
        offered = LabelledSet(drawn.candidates.images.to(device), drawn.candidates.labels.to(device))
        return replace(drawn, candidates=offered)

    def _raw(
        self,
        host: PluginHost,
        chunk: Chunk,
        seen: list[Observation],
        lineups: Sequence[Lineup | None],
        progress: Progress,
    ) -> list[Raw]:
        offered = [one.candidates for one in lineups if one is not None]
        # What an attack remembered may be anything, so that nothing says that two controls were given the same.
        cached = chunk.is_control and not self.state
        folder, name = cache_folder(self.folder), ""
        if cached:
            name = control_name(self.attack.plugin, seen, offered, self._stream(chunk))
            if (known := read_control(folder, name, len(seen), self.world.device)) is not None:
                return known
        raw = self._called(host, chunk, seen, offered, progress)
        if cached:
            write_control(folder, name, raw)
        return raw

    def _called(
        self,
        host: PluginHost,
        chunk: Chunk,
        seen: list[Observation],
        offered: list[LabelledSet],
        progress: Progress,
    ) -> list[Raw]:
        plugin = self.attack.plugin
        guesses: list[Reconstruction | None] = [None] * len(seen)
        scores: list[Tensor | None] = [None] * len(seen)
        if host.implements("reconstruct"):
            guesses = [*host.reconstruct(plugin, seen, self._stream(chunk), progress, self.state)]
        if host.implements("identify"):
            scores = [*host.identify(plugin, seen, offered, self._stream(chunk), progress, self.state)]
        return [Raw(guess, score) for guess, score in zip(guesses, scores, strict=True)]

    def _stream(self, chunk: Chunk) -> torch.Generator:
        # By the attack's class, not its label: the same attack with other options draws the same numbers.
        first, name = chunk.captures[0], type(self.attack.plugin).__name__
        return generator(self.seed, "attack", name, first.round_idx, first.group, chunk.index)


def _judged(raw: Raw, one: Lineup | None) -> Identified | None:
    return None if one is None or raw.scores is None else identified(raw.scores, one.places)
