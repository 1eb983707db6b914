"""Reads captures back as what an attack gets; nothing here knows where the truth lies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from priprune_plugins.masks import applied
from priprune_plugins.messages import Facts, LabelledSet, Observation
from priprune_plugins.run.capture_files import read_about, read_tensors
from priprune_plugins.run.captures import Capture


class CaptureReader:
    """Reads the folder ``captures``.

    Args:
        captures: That folder.
        facts: Public facts.
        public: The server's labelled public set, or None.
        device: Where observations go.
    """

    def __init__(self, captures: Path, facts: Facts, public: LabelledSet | None, device: torch.device) -> None:
        self._captures, self._facts, self._public, self._device = captures, facts, public, device
        self._last_side: tuple[int, dict[str, Tensor]] | None = None

    def observation(self, capture: Capture) -> Observation:
        """Return what the server holds of one capture."""
        tensors, about = read_tensors(self._captures / f"{capture.key}.safetensors", self._device)
        side = self._side(capture.round_idx)
        control = capture.group == "control"
        return Observation(
            broadcast=side["broadcast"],
            # The control is the same broadcast without pruning: what the network computes is the same.
            server_weights=side["broadcast"] if control else side["server_weights"],
            mask=None if control else side.get("mask"),
            upload=tensors["upload"],
            extras=_stripped("extras", tensors),
            buffers=_stripped("buffers", tensors),
            broadcast_buffers=_stripped("buffers", side),
            offset=tensors.get("offset"),
            num_samples=about["num_samples"],
            round_idx=capture.round_idx,
            client_ids=capture.client_ids,
            facts=replace(
                self._facts,
                batch_size=about["batch_size"],
                local_steps=about["local_steps"],
                epochs=about["epochs"],
            ),
            public=self._public,
        )

    def observations(self, captures: Sequence[Capture], everything: Sequence[Capture]) -> list[Observation]:
        """Return observations; each client's earlier ones are attached and read from disk when an attack asks.

        Args:
            captures: Which.
            everything: All captures of the run, where the earlier ones are looked for.
        """
        return [
            replace(self.observation(capture), earlier=EarlierObservations(self, _before(capture, everything)))
            for capture in captures
        ]

    def _side(self, round_idx: int) -> dict[str, Tensor]:
        # The last round's side is kept: a round's uploads are read together and share its tensors.
        if self._last_side is None or self._last_side[0] != round_idx:
            side, _ = read_tensors(self._captures / f"r{round_idx:06d}.safetensors", self._device)
            side.setdefault("broadcast", applied(side["server_weights"], side.get("mask")))
            self._last_side = (round_idx, side)
        return self._last_side[1]


class EarlierObservations(Sequence[Observation]):
    """Observations that are read from disk when they are asked for.

    Args:
        reader: Reads them.
        captures: Which, oldest first.
    """

    def __init__(self, reader: CaptureReader, captures: Sequence[Capture]) -> None:
        self._reader, self._captures = reader, captures

    def __len__(self) -> int:
        return len(self._captures)

    @overload
    def __getitem__(self, index: int) -> Observation: ...

    @overload
    def __getitem__(self, index: slice) -> "EarlierObservations": ...

    def __getitem__(self, index: int | slice) -> "Observation | EarlierObservations":
        if isinstance(index, slice):
            return EarlierObservations(self._reader, self._captures[index])
        return self._reader.observation(self._captures[index])


def all_captures(captures: Path) -> list[Capture]:
    """Return every capture of a folder ``captures``, by round, group and client."""
    found = [_capture(path) for path in captures.glob("r*_*.safetensors")]
    return sorted(found, key=lambda c: (c.round_idx, c.group, c.key))


def _capture(path: Path) -> Capture:
    about = read_about(path)
    return Capture(path.stem, about["group"], about["round"], tuple(about["clients"]))


def _before(capture: Capture, everything: Sequence[Capture]) -> list[Capture]:
    return [
        other
        for other in everything
        if (other.group, other.client_ids) == (capture.group, capture.client_ids)
        and other.round_idx < capture.round_idx
    ]


def _stripped(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }
