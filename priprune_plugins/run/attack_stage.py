"""Attacks on captures: reconstruct, measure against the truth, write."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from priprune_plugins.errors import PluginError
from priprune_plugins.generators import generator
from priprune_plugins.messages import LabelledSet, Reconstruction
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.privacy.floors import floors
from priprune_plugins.privacy.measures import Measures, measure
from priprune_plugins.report.pictures import comparison_png
from priprune_plugins.run.assemble import World
from priprune_plugins.run.captures import Capture, CaptureStore
from priprune_plugins.run.folder import append_line, read_lines, write_json


@dataclass(frozen=True, eq=False)
class AttackStage:
    """Runs attacks on the captures of one run folder.

    Args:
        folder: The run folder.
        world: Device, test images and public facts.
        seed: The scenario's seed.
        levels: Grey levels of NMI.
    """

    folder: Path
    world: World
    seed: int
    levels: int

    def run(self, attack: Registered, progress: Callable[[float], None]) -> int:
        """Attack every capture that this attack has not done yet; return how many there were.

        A round's uploads are handed over together, so that an attack may batch them.

        Raises:
            PluginError: The attack failed; what it did before stays on disk.
        """
        store = CaptureStore(self.folder)
        todo = self.todo(attack.name)
        self._describe(attack)
        host = PluginHost([attack])
        done = 0
        for _, group in groupby(todo, key=lambda capture: (capture.round_idx, capture.group)):
            captures = list(group)
            before, part = done / len(todo), len(captures) / len(todo)
            guesses = self._reconstruct(host, attack, store, captures, _scaled(progress, before, part))
            for capture, guess in zip(captures, guesses, strict=True):
                self._keep(attack, store, capture, guess)
            done += len(captures)
            progress(done / len(todo))
        return len(todo)

    def _describe(self, attack: Registered) -> None:
        path = self.folder / "reconstructions" / attack.name / "attack.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"plugin": repr(attack.plugin)})

    def todo(self, name: str) -> list[Capture]:
        """Return the captures that an attack has no line for in privacy.jsonl."""
        lines = read_lines(self.folder / "privacy.jsonl")
        done = {(line["group"], line["round"], line["key"]) for line in lines if line["attack"] == name}
        return [c for c in CaptureStore(self.folder).all() if (c.group, c.round_idx, c.key) not in done]

    def _reconstruct(
        self,
        host: PluginHost,
        attack: Registered,
        store: CaptureStore,
        captures: Sequence[Capture],
        progress: Callable[[float], None],
    ) -> list[Reconstruction]:
        first = captures[0]
        observations = store.observations(captures, self.world.facts, self.world.device)
        stream = generator(self.seed, "attack", attack.name, first.round_idx, first.group)
        return host.reconstruct(attack.plugin, observations, stream, progress)

    def _keep(self, attack: Registered, store: CaptureStore, capture: Capture, guess: Reconstruction) -> None:
        truth, withheld = store.truth(capture)
        guess = _on_cpu(guess, truth.images)
        try:
            measures = measure(truth.images, truth.labels, guess, self.levels)
        except ValueError as error:
            raise PluginError(f"{attack} failed on {capture.key}: {error}") from error
        self._write_guess(attack.name, capture, guess, truth, measures)
        append_line(
            self.folder / "privacy.jsonl", self._record(attack.name, capture, guess, truth, measures) | withheld
        )

    def _record(
        self, name: str, capture: Capture, guess: Reconstruction, truth: LabelledSet, measures: Measures
    ) -> dict[str, Any]:
        pool = self.world.data.test
        stream = generator(self.seed, "floors", capture.key)
        test = LabelledSet(pool.images.cpu(), pool.labels.cpu())
        mean_image = self.world.facts.mean_image.cpu()
        return {
            "attack": name,
            "key": capture.key,
            "round": capture.round_idx,
            "client": capture.client_ids[0] if len(capture.client_ids) == 1 else list(capture.client_ids),
            "group": capture.group,
            "batch_size": len(truth),
            "attack_loss": guess.loss,
            "nmi": measures.nmi,
            "nmi_levels": measures.nmi_levels,
            "psnr_db": measures.psnr_db,
            "ssim": measures.ssim,
            "mse": measures.mse,
            "label_accuracy": measures.label_accuracy,
            "kl": measures.kl,
            "min_entropy": measures.min_entropy,
            "rank": None,
            "failed": measures.failed,
            "floors": floors(truth.images, truth.labels, mean_image, test, stream, self.levels),
        }

    def _write_guess(
        self, name: str, capture: Capture, guess: Reconstruction, truth: LabelledSet, measures: Measures
    ) -> None:
        folder = self.folder / "reconstructions" / name
        folder.mkdir(parents=True, exist_ok=True)
        order = torch.tensor(measures.order)
        images = guess.images[order].contiguous()
        labels = {} if guess.labels is None else {"labels": guess.labels[order].contiguous()}
        save_file({"images": images, "trace": guess.trace, **labels}, folder / f"{capture.key}.safetensors")
        comparison_png(truth.images, images, folder / f"{capture.key}.png")


def made_with(folder: Path, label: str) -> str | None:
    """Return the plugin, options included, whose figures stand under ``label`` in a run folder, or None."""
    path = folder / "reconstructions" / label / "attack.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["plugin"]) if path.is_file() else None


def _on_cpu(guess: Reconstruction, truth: Tensor) -> Reconstruction:
    images = guess.images.detach().float().cpu()
    if guess.failed is not None and images.shape != truth.shape:
        images = torch.zeros_like(truth)
    labels = None if guess.labels is None else guess.labels.cpu()
    return replace(guess, images=images, labels=labels, trace=guess.trace.detach().float().cpu().contiguous())


def _scaled(progress: Callable[[float], None], before: float, part: float) -> Callable[[float], None]:
    return lambda share: progress(before + part * share)
