"""What the server saw of each attacked upload, on disk; the truth lies apart, where no attack looks.

``captures/r000010.safetensors`` holds the server's side of a round, ``captures/r000010_c00003.safetensors`` one upload,
``audit/r000010_c00003.safetensors`` the images behind it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from priprune_plugins.errors import ScenarioError
from priprune_plugins.masks import applied
from priprune_plugins.messages import Facts, LabelledSet, Observation, Server, Upload
from priprune_plugins.plugins import seen_by_server

Group = Literal["audit", "training", "control"]


@dataclass(frozen=True)
class Capture:
    """Where one attacked upload lies.

    Args:
        key: File stem, for instance ``r000010_c00003``.
        group: Who made it: a probe, the training itself, or the positive control.
        round_idx: Round.
        client_ids: Sender or senders.
        batch_size: Images a step of this upload.
    """

    key: str
    group: Group
    round_idx: int
    client_ids: tuple[int, ...]
    batch_size: int


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

    def write_server(self, server: Server, broadcast: Tensor, buffers: Mapping[str, Tensor]) -> None:
        """Keep the server's side of the current round."""
        mask = {} if server.mask is None else {"mask": server.mask}
        tensors = {"server_weights": server.weights, **mask, **_prefixed("buffers", buffers)}
        if server.mask is None and not torch.equal(server.weights, broadcast):
            tensors["broadcast"] = broadcast
        self._write(self._captures / f"r{server.round_idx:06d}.safetensors", tensors, {})

    def write_upload(
        self, key: str, group: Group, upload: Upload, facts: Facts, truth: tuple[Tensor, Tensor]
    ) -> Capture | None:
        """Keep one upload as its bytes show it, and its truth; None where the size is used up."""
        seen = seen_by_server(upload)
        tensors = {
            "upload": seen.weights,
            **_prefixed("extras", seen.extras),
            **_prefixed("buffers", seen.buffers),
        }
        if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > self._left:
            self.refused += 1
            return None
        capture = Capture(key, group, upload.round_idx, upload.client_ids, facts.batch_size)
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
        self._write(self._audit / f"{key}.safetensors", {"images": truth[0], "labels": truth[1]}, {})
        return capture

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
        side, _ = _read(self._captures / f"r{capture.round_idx:06d}.safetensors", device)
        mask = side.get("mask")
        broadcast = side.get("broadcast", applied(side["server_weights"], mask))
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
        """Return observations with each client's earlier ones attached; one read of a round's side serves all."""
        return [self._with_earlier(capture, facts, device) for capture in captures]

    def _with_earlier(self, capture: Capture, facts: Facts, device: torch.device) -> Observation:
        earlier = [
            other
            for other in self.all()
            if (other.group, other.client_ids) == (capture.group, capture.client_ids)
            and other.round_idx < capture.round_idx
        ]
        past = tuple(self.observation(other, facts, device) for other in earlier)
        return replace(self.observation(capture, facts, device), earlier=past)

    def truth(self, capture: Capture) -> LabelledSet:
        """Return the images behind a capture, on CPU."""
        tensors, _ = _read(self._audit / f"{capture.key}.safetensors", torch.device("cpu"))
        return LabelledSet(tensors["images"], tensors["labels"])


def upload_key(round_idx: int, client_id: int) -> str:
    """Return the file stem of a client's upload."""
    return f"r{round_idx:06d}_c{client_id:05d}"


def control_key(round_idx: int, index: int) -> str:
    """Return the file stem of a positive control's upload."""
    return f"r{round_idx:06d}_control{index}"


def _capture(path: Path) -> Capture:
    with _opened(path, "cpu") as file:
        about = json.loads(file.metadata()["about"])
    return Capture(path.stem, about["group"], about["round"], tuple(about["clients"]), about["batch_size"])


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
