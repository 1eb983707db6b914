"""Reads captures back as what an attack gets; nothing here knows where the truth lies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
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
        side = self._of_sender(tensors, self._side(capture.round_idx))
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
            group_images=about.get("group_images"),
            public=self._public,
        )

    def observations(
        self,
        captures: Sequence[Capture],
        everything: Sequence[Capture],
        labels: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> list[Observation]:
        """Return observations; each client's other ones are attached and read from disk when an attack asks.

        Args:
            captures: Which.
            everything: All captures of the run, where the others are looked for.
            labels: True labels of the others by key, where the attack is granted them.
        """
        return [self._among(capture, neighbours(capture, everything), labels) for capture in captures]

    def _among(self, capture: Capture, others: Sequence[Capture], labels: Mapping[str, Tensor]) -> Observation:
        before = [other for other in others if other.round_idx < capture.round_idx]
        after = [other for other in others if other.round_idx > capture.round_idx]
        earlier, later = (OtherObservations(self, part, labels) for part in (before, after))
        return replace(self.observation(capture), earlier=earlier, later=later)

    def _of_sender(self, tensors: Mapping[str, Tensor], side: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the server's side of an upload whose sender was sent a model of its own, IFCA's for instance."""
        dense = tensors.get("server_weights")
        if dense is None:
            return side
        return {**side, "server_weights": dense, "broadcast": applied(dense, side.get("mask"))}

    def _side(self, round_idx: int) -> dict[str, Tensor]:
        # The last round's side is kept: a round's uploads are read together and share its tensors.
        if self._last_side is None or self._last_side[0] != round_idx:
            side, _ = read_tensors(self._captures / f"r{round_idx:06d}.safetensors", self._device)
            side.setdefault("broadcast", applied(side["server_weights"], side.get("mask")))
            self._last_side = (round_idx, side)
        return self._last_side[1]


class OtherObservations(Sequence[Observation]):
    """Observations that are read from disk when they are asked for.

    Args:
        reader: Reads them.
        captures: Which, oldest first.
        labels: True labels by key, where they are granted.
    """

    def __init__(self, reader: CaptureReader, captures: Sequence[Capture], labels: Mapping[str, Tensor]) -> None:
        self._reader, self._captures, self._labels = reader, captures, labels

    def __len__(self) -> int:
        return len(self._captures)

    @overload
    def __getitem__(self, index: int) -> Observation: ...

    @overload
    def __getitem__(self, index: slice) -> "OtherObservations": ...

    def __getitem__(self, index: int | slice) -> "Observation | OtherObservations":
        if isinstance(index, slice):
            return OtherObservations(self._reader, self._captures[index], self._labels)
        capture = self._captures[index]
        return replace(self._reader.observation(capture), labels=self._labels.get(capture.key))


def all_captures(captures: Path) -> list[Capture]:
    """Return every capture of a folder ``captures``, by round, group and client."""
    found = [_capture(path) for path in captures.glob("r*_*.safetensors")]
    return sorted(found, key=lambda c: (c.round_idx, c.group, c.key))


def _capture(path: Path) -> Capture:
    about = read_about(path)
    return Capture(path.stem, about["group"], about["round"], tuple(about["clients"]), about.get("audited"))


def neighbours(capture: Capture, everything: Sequence[Capture]) -> list[Capture]:
    """Return the other captures of the same sender, oldest first: those of its own history where it has one."""

    def sender(one: Capture) -> tuple[object, ...]:
        return one.client_ids, one.audited, one.group if one.audited is None else None

    others = [other for other in everything if sender(other) == sender(capture)]
    return sorted((other for other in others if other.key != capture.key), key=lambda other: other.round_idx)


def _stripped(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }
