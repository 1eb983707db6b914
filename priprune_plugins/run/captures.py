"""What the server saw of each attacked upload, on disk; the truth lies apart, where no attack looks.

``captures/r000010.safetensors`` holds the server's side of a round, ``captures/r000010_c00003.safetensors`` one upload,
``audit/r000010_c00003.safetensors`` the images behind it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from priprune_plugins.errors import ScenarioError
from priprune_plugins.masks import applied
from priprune_plugins.messages import Facts, LabelledSet, Observation, Server
from priprune_plugins.plugins import seen_by_server
from priprune_plugins.simulation.sent import Sent

Group = Literal["audit", "training", "control"]


@dataclass(frozen=True)
class Capture:
    """Where one attacked upload lies.

    Args:
        key: File stem, for instance ``r000010_c00003``.
        group: Who made it: a probe, the training itself, or the positive control.
        round_idx: Round.
        client_ids: Sender or senders.
    """

    key: str
    group: Group
    round_idx: int
    client_ids: tuple[int, ...]


class CaptureStore:
    """Writes captures up to a size and reads them back as observations.

    Args:
        folder: The run folder.
        max_gib: Stop keeping uploads past this size.
    """

    def __init__(self, folder: Path, max_gib: float = float("inf")) -> None:
        self._captures = folder / "captures"
        self._audit = folder / "audit"
        self._left = max_gib * 2**30
        self.refused = 0
        self._last_side: tuple[tuple[int, torch.device], dict[str, Tensor]] | None = None

    def write_server(self, server: Server, broadcast: Tensor, buffers: Mapping[str, Tensor]) -> bool:
        """Keep the server's side of the current round; False where the size is used up."""
        mask = {} if server.mask is None else {"mask": server.mask}
        tensors = {"server_weights": server.weights, **mask, **_prefixed("buffers", buffers)}
        if server.mask is None and not torch.equal(server.weights, broadcast):
            tensors["broadcast"] = broadcast
        if not self._fits(tensors):
            return False
        self._write(self._captures / f"r{server.round_idx:06d}.safetensors", tensors, {})
        return True

    def _fits(self, tensors: Mapping[str, Tensor]) -> bool:
        fits = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) <= self._left
        self.refused += not fits
        return fits

    def write_upload(self, key: str, group: Group, sent: Sent, facts: Facts) -> None:
        """Keep one upload as its bytes show it, and apart its truth; nothing where the size is used up."""
        upload = sent.upload
        seen = seen_by_server(upload)
        tensors = {
            "upload": seen.weights,
            **_prefixed("extras", seen.extras),
            **_prefixed("buffers", seen.buffers),
            **({} if sent.offset is None else {"offset": sent.offset}),
        }
        if not self._fits(tensors):
            return
        about = {
            "group": group,
            "round": upload.round_idx,
            "clients": list(upload.client_ids),
            "num_samples": upload.num_samples,
            "batch_size": facts.batch_size,
            "local_steps": facts.local_steps,
            "epochs": facts.epochs,
        }
        self._write(self._captures / f"{key}.safetensors", tensors, about)
        withheld = {"withheld_rate": sent.withheld_rate, "gradient_mass_withheld": sent.gradient_mass_withheld}
        images, labels = sent.truth
        self._write(self._audit / f"{key}.safetensors", {"images": images, "labels": labels}, withheld)

    def _write(self, path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        path.parent.mkdir(exist_ok=True)
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(plain, path, metadata={"about": json.dumps(about)})
        self._left -= path.stat().st_size

    def all(self) -> list[Capture]:
        """Return every capture, by group, round and client."""
        paths = sorted(self._captures.glob("r*_*.safetensors"))
        return sorted((_capture(path) for path in paths), key=lambda c: (c.round_idx, c.group, c.key))

    def observation(self, capture: Capture, facts: Facts, device: torch.device) -> Observation:
        """Return what the server holds of one capture."""
        tensors, about = _read(self._captures / f"{capture.key}.safetensors", device)
        side = self._side(capture.round_idx, device)
        mask = side.get("mask")
        broadcast = side["broadcast"]
        control = capture.group == "control"
        return Observation(
            broadcast=broadcast,
            # The control is the same broadcast without pruning: what the network computes is the same.
            server_weights=broadcast if control else side["server_weights"],
            mask=None if control else mask,
            upload=tensors["upload"],
            extras=_stripped("extras", tensors),
            buffers=_stripped("buffers", tensors),
            broadcast_buffers=_stripped("buffers", side),
            offset=tensors.get("offset"),
            num_samples=about["num_samples"],
            round_idx=capture.round_idx,
            client_ids=capture.client_ids,
            facts=replace(
                facts,
                batch_size=about["batch_size"],
                local_steps=about["local_steps"],
                epochs=about["epochs"],
            ),
        )

    def observations(self, captures: Sequence[Capture], facts: Facts, device: torch.device) -> list[Observation]:
        """Return observations; each client's earlier ones are attached and read from disk when an attack asks."""
        everything = self.all()
        return [
            replace(
                self.observation(capture, facts, device),
                earlier=EarlierObservations(self, _before(capture, everything), facts, device),
            )
            for capture in captures
        ]

    def _side(self, round_idx: int, device: torch.device) -> dict[str, Tensor]:
        # The last round's side is kept: a round's uploads are read together and share its tensors.
        if self._last_side is None or self._last_side[0] != (round_idx, device):
            side, _ = _read(self._captures / f"r{round_idx:06d}.safetensors", device)
            side.setdefault("broadcast", applied(side["server_weights"], side.get("mask")))
            self._last_side = ((round_idx, device), side)
        return self._last_side[1]

    def truth(self, capture: Capture) -> tuple[LabelledSet, dict[str, float | None]]:
        """Return the images behind a capture, on CPU, and what share of its coordinates and mass was withheld."""
        tensors, withheld = _read(self._audit / f"{capture.key}.safetensors", torch.device("cpu"))
        return LabelledSet(tensors["images"], tensors["labels"]), withheld


class EarlierObservations(Sequence[Observation]):
    """Observations that are read from disk when they are asked for.

    Args:
        store: Where they lie.
        captures: Which, oldest first.
        facts: Public facts.
        device: Where to.
    """

    def __init__(self, store: CaptureStore, captures: Sequence[Capture], facts: Facts, device: torch.device) -> None:
        self._store, self._captures, self._facts, self._device = store, captures, facts, device

    def __len__(self) -> int:
        return len(self._captures)

    @overload
    def __getitem__(self, index: int) -> Observation: ...

    @overload
    def __getitem__(self, index: slice) -> "EarlierObservations": ...

    def __getitem__(self, index: int | slice) -> "Observation | EarlierObservations":
        if isinstance(index, slice):
            return EarlierObservations(self._store, self._captures[index], self._facts, self._device)
        return self._store.observation(self._captures[index], self._facts, self._device)


def _before(capture: Capture, everything: Sequence[Capture]) -> list[Capture]:
    return [
        other
        for other in everything
        if (other.group, other.client_ids) == (capture.group, capture.client_ids)
        and other.round_idx < capture.round_idx
    ]


def upload_key(round_idx: int, client_id: int) -> str:
    """Return the file stem of a client's upload."""
    return f"r{round_idx:06d}_c{client_id:05d}"


def control_key(round_idx: int, index: int) -> str:
    """Return the file stem of a positive control's upload."""
    return f"r{round_idx:06d}_control{index}"


def _capture(path: Path) -> Capture:
    with _opened(path, "cpu") as file:
        about = json.loads(file.metadata()["about"])
    return Capture(path.stem, about["group"], about["round"], tuple(about["clients"]))


def _read(path: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with _opened(path, str(device)) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return tensors, json.loads(file.metadata()["about"])


def _opened(path: Path, device: str) -> Any:
    try:
        return safe_open(path, framework="pt", device=device)
    except (OSError, SafetensorError) as error:
        raise ScenarioError(f"{path}: cannot be read as a capture ({error}); run the scenario again") from error


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _stripped(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }
