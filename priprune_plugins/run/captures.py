"""What the server saw of each attacked upload, on disk; the truth lies apart, where no attack looks.

``captures/r000010.safetensors`` holds the server's side of a round, ``captures/r000010_c00003.safetensors`` one upload,
``audit/r000010_c00003.safetensors`` what is behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from priprune_plugins.messages import Facts, Server, Upload
from priprune_plugins.run.folder import write_tensors
from priprune_plugins.run.truth import truth_of
from priprune_plugins.seen_upload import seen_by_server
from priprune_plugins.simulation.sent import Sent

Group = Literal["audit", "history", "training", "control"]


@dataclass(frozen=True)
class Capture:
    """Where one attacked upload lies.

    Args:
        key: File stem, for instance ``r000010_c00003``.
        group: Who made it: a probe, the training itself, or the positive control; ``history`` is a participation
            around a probe, which attacks are given and do not attack.
        round_idx: Round.
        client_ids: Sender or senders.
        audited: The round of the probe that it stands around, or its own; None where a probe has no history.
    """

    key: str
    group: Group
    round_idx: int
    client_ids: tuple[int, ...]
    audited: int | None = None

    @property
    def is_attacked(self) -> bool:
        """Whether attacks answer to it."""
        return self.group != "history"


class CaptureStore:
    """Writes captures up to a size; :class:`~priprune_plugins.run.observed.CaptureReader` reads them back.

    Args:
        folder: The run folder.
        max_gib: Stop keeping uploads past this size.
    """

    def __init__(self, folder: Path, max_gib: float = float("inf")) -> None:
        self._captures = folder / "captures"
        self._audit = folder / "audit"
        there = [*self._captures.glob("*"), *self._audit.glob("*")]
        self._left = max_gib * 2**30 - sum(path.stat().st_size for path in there)
        self.refused = 0

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

    def write_upload(
        self,
        key: str,
        group: Group,
        sent: Sent,
        facts: Facts,
        audited: int | None = None,
        dense: Tensor | None = None,
    ) -> None:
        """Keep one upload as its bytes show it, and apart its truth; nothing where the size is used up.

        Args:
            key: File stem.
            group: Who made it.
            sent: The upload.
            facts: Public facts of it.
            audited: The round of the probe that it stands around, or None.
            dense: ``[D]`` the server's dense weights behind what this sender was sent, where they are its own.
        """
        upload = sent.upload
        seen = seen_by_server(upload)
        tensors = {
            "upload": seen.weights,
            **_prefixed("extras", seen.extras),
            **_prefixed("buffers", seen.buffers),
            **({} if sent.offset is None else {"offset": sent.offset}),
            **({} if dense is None else {"server_weights": dense}),
        }
        truth, withheld = truth_of(sent)
        if not self._fits({**tensors, **_prefixed("truth", truth)}):
            return
        about = {
            "group": group,
            "round": upload.round_idx,
            "clients": list(upload.client_ids),
            "num_samples": upload.num_samples,
            "batch_size": facts.batch_size,
            "local_steps": facts.local_steps,
            "epochs": facts.epochs,
            "audited": audited,
            "group_images": len(truth["labels"]) if len(upload.client_ids) > 1 else None,
        }
        # The truth first: a capture without one could not be measured.
        self._write(self._audit / f"{key}.safetensors", truth, withheld)
        self._write(self._captures / f"{key}.safetensors", tensors, about)

    def _write(self, path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, tensors, about)
        self._left -= path.stat().st_size


def upload_key(upload: Upload) -> str:
    """Return the file stem of an upload; a group's is that of its first client and how many more there are."""
    first, *others = upload.client_ids
    key = f"r{upload.round_idx:06d}_c{first:05d}"
    return f"{key}_and{len(others)}" if others else key


def control_key(round_idx: int, index: int) -> str:
    """Return the file stem of a positive control's upload."""
    return f"r{round_idx:06d}_control{index}"


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
