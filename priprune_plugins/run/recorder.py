"""Measures what an attack answered and writes it down: one line in privacy.jsonl, the guess, the picture."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.errors import PluginError
from priprune_plugins.generators import generator
from priprune_plugins.messages import LabelledSet, Reconstruction
from priprune_plugins.plugins import Registered
from priprune_plugins.privacy.floors import Floor, floors
from priprune_plugins.privacy.identification import Identified
from priprune_plugins.privacy.measures import Measures, measure
from priprune_plugins.report.pictures import comparison_png
from priprune_plugins.run.captures import Capture
from priprune_plugins.run.folder import append_line, write_json, write_tensors
from priprune_plugins.run.truth import TruthStore, granted
from priprune_plugins.scenario.sections import PrivacySection

_PICTURE_FIGURES = ("nmi", "nmi_levels", "psnr_db", "ssim", "mse", "label_accuracy", "kl", "min_entropy")


@dataclass(frozen=True, eq=False)
class Answer:
    """What an attack made of one capture.

    Args:
        guess: Its reconstruction, or None where it only identifies.
        identified: How it ranked the true images, or None where it only reconstructs.
    """

    guess: Reconstruction | None
    identified: Identified | None


@dataclass(frozen=True, eq=False)
class Recorder:
    """Writes answers into a run folder.

    Args:
        folder: The run folder.
        pool: Public images, for the floors; on CPU.
        mean_image: ``[C, H, W]`` public mean image, on CPU.
        seed: The scenario's seed.
        privacy: How reconstructions are measured.
    """

    folder: Path
    pool: LabelledSet
    mean_image: Tensor
    seed: int
    privacy: PrivacySection

    def keep(self, attack: Registered, capture: Capture, answer: Answer, more: Mapping[str, Any]) -> None:
        """Measure one answer and write it; the line in privacy.jsonl comes last, so that it stands for all of it.

        Args:
            attack: Whose answer.
            capture: To what.
            answer: What it answered.
            more: What else its line says; wins over what is read from ``audit/``.

        Raises:
            PluginError: The guess has another shape than the truth.
        """
        store = TruthStore(self.folder)
        truth = store.images(capture.key)
        record: dict[str, Any] = {
            "attack": attack.name,
            "key": capture.key,
            "round": capture.round_idx,
            "client": capture.client_ids[0] if len(capture.client_ids) == 1 else list(capture.client_ids),
            "group": capture.group,
            "granted": list(granted(attack.plugin)),
            "batch_size": len(truth),
            **self._of_guess(attack, capture, answer.guess, truth),
            **_of_ranks(answer.identified),
        }
        failed = [record.pop("guess_failed"), record.pop("ranks_failed")]
        record["failed"] = next((reason for reason in failed if reason is not None), None)
        append_line(self.folder / "privacy.jsonl", {**record, **store.withheld(capture.key), **more})

    def _of_guess(
        self, attack: Registered, capture: Capture, guess: Reconstruction | None, truth: LabelledSet
    ) -> dict[str, Any]:
        if guess is None:
            nothing = dict.fromkeys(("attack_loss", *_PICTURE_FIGURES))
            return {**nothing, "notes": {}, "floors": {}, "guess_failed": None}
        guess = _on_cpu(guess, truth.images)
        try:
            measures = measure(truth.images, truth.labels, guess, self.privacy.nmi_levels)
        except ValueError as error:
            raise PluginError(f"{attack} failed on {capture.key}: {error}") from error
        self._write(attack.name, capture, guess, truth, measures)
        return {
            "attack_loss": guess.loss,
            **{figure: getattr(measures, figure) for figure in _PICTURE_FIGURES},
            "notes": {name: float(value) for name, value in guess.notes.items()},
            "floors": self._floors(capture, truth),
            "guess_failed": measures.failed,
        }

    def _floors(self, capture: Capture, truth: LabelledSet) -> dict[str, Floor]:
        """Return the floors of a capture, which every attack on it shares: computed once, then read."""
        levels = self.privacy.nmi_levels
        path = self.folder / "cache" / "floors" / f"{capture.key}_{levels}.json"
        if not path.is_file():
            stream = generator(self.seed, "floors", capture.key)
            found = floors(truth.images, truth.labels, self.mean_image, self.pool, stream, levels)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, found)
        read: dict[str, Floor] = json.loads(path.read_text(encoding="utf-8"))
        return read

    def _write(
        self, name: str, capture: Capture, guess: Reconstruction, truth: LabelledSet, measures: Measures
    ) -> None:
        folder = self.folder / "reconstructions" / name
        order = torch.tensor(measures.order)
        images = guess.images[order]
        labels = {} if guess.labels is None else {"labels": guess.labels[order]}
        write_tensors(folder / f"{capture.key}.safetensors", {"images": images, "trace": guess.trace, **labels})
        comparison_png(truth.images, images, folder / f"{capture.key}.png")


def _of_ranks(found: Identified | None) -> dict[str, Any]:
    if found is None:
        return {"rank": None, "candidates": None, "ranks_failed": None}
    return {"rank": found.rank, "candidates": found.num_candidates, "ranks_failed": found.failed}


def _on_cpu(guess: Reconstruction, truth: Tensor) -> Reconstruction:
    images = guess.images.detach().float().cpu()
    if guess.failed is not None and images.shape != truth.shape:
        images = torch.zeros_like(truth)
    labels = None if guess.labels is None else guess.labels.cpu()
    return replace(guess, images=images, labels=labels, trace=guess.trace.detach().float().cpu().contiguous())
