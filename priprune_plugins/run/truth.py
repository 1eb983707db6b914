"""What is behind an upload: images, labels and the weights that training started from.

It lies in ``audit/``, apart from what the server saw. An attack gets some of it only where it declares so, see
:func:`granted`, and then its figures are an upper bound and say so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from priprune_plugins.messages import LabelledSet, Observation
from priprune_plugins.run.capture_files import read_about, read_tensors
from priprune_plugins.simulation.sent import Sent

START, LABELS = "start", "labels"
GRANT_NAMES = {START: "oracle", LABELS: "true-labels"}


def truth_of(sent: Sent) -> tuple[dict[str, Tensor], dict[str, float | None]]:
    """Return the tensors that ``audit/`` keeps of an upload, and what share of coordinates and mass was withheld.

    ``start`` is kept only where it is not the broadcast.
    """
    images, labels = sent.truth
    tensors = {"images": images, "labels": labels}
    if sent.start is not sent.received and not torch.equal(sent.start, sent.received):
        tensors[START] = sent.start
    return tensors, {"withheld_rate": sent.withheld_rate, "gradient_mass_withheld": sent.gradient_mass_withheld}


def granted(plugin: object) -> tuple[str, ...]:
    """Return which truth an attack declares to need: ``start`` by ``oracle``, ``labels`` by ``labels: true``."""
    start = (START,) if getattr(plugin, "oracle", False) is True else ()
    labels = (LABELS,) if getattr(plugin, "labels", None) in (True, "true") else ()
    return (*start, *labels)


@dataclass(frozen=True)
class TruthStore:
    """Reads ``audit/``; no attack may ever hold one.

    Args:
        folder: The run folder.
    """

    folder: Path

    def images(self, key: str) -> LabelledSet:
        """Return the images behind a capture, on CPU."""
        tensors, _ = read_tensors(self._path(key), torch.device("cpu"), "images", "labels")
        return LabelledSet(tensors["images"], tensors["labels"])

    def labels_of(self, keys: Iterable[str], names: tuple[str, ...], device: torch.device) -> dict[str, Tensor]:
        """Return the true labels of other captures by key, where ``names`` grants labels; else nothing."""
        return {key: self.images(key).labels.to(device) for key in keys} if LABELS in names else {}

    def withheld(self, key: str) -> dict[str, float | None]:
        """Return what share of a capture's coordinates and gradient mass was withheld."""
        return read_about(self._path(key))

    def granting(self, observation: Observation, key: str, names: tuple[str, ...]) -> Observation:
        """Return the observation with the truth that ``names`` grants."""
        if LABELS in names:
            observation = replace(observation, labels=self.images(key).labels.to(observation.broadcast.device))
        if START in names:
            start = self._start(key, observation)
            observation = replace(observation, start=start, broadcast=start, server_weights=start)
        return observation

    def _start(self, key: str, observation: Observation) -> Tensor:
        tensors, _ = read_tensors(self._path(key), observation.broadcast.device, START)
        return tensors.get(START, observation.broadcast)

    def _path(self, key: str) -> Path:
        return self.folder / "audit" / f"{key}.safetensors"
