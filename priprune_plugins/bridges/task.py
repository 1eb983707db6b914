"""What a client is asked for in a round, and what it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from priprune_plugins.bridges.seen_batches import SeenBatches
from priprune_plugins.bridges.state_dicts import Parcel, StateDict, with_weights
from priprune_plugins.errors import ScenarioError
from priprune_plugins.facts import Facts
from priprune_plugins.layout import Layout
from priprune_plugins.masks import applied, chosen, intersection
from priprune_plugins.messages import Upload


@dataclass(frozen=True, eq=False)
class Task:
    """What a client is asked for.

    Args:
        client_id: The client, by the number that the framework gives it.
        round_idx: Round, from 0; -1 in a setup round.
        num_samples: Images of the client, which its upload is weighted by.
        num_steps: Optimiser steps that its loop will make.
        mask: ``[D]`` bool, the server's mask, or None.
        facts: Public facts, where they are not the setting's, as a probe's.
    """

    client_id: int
    round_idx: int
    num_samples: int
    num_steps: int
    mask: Tensor | None = None
    facts: Facts | None = None

    @classmethod
    def read(cls, beside: Mapping[str, Tensor], client_id: int, num_samples: int, num_steps: int) -> "Task":
        """Return the task that a broadcast asks for, by what lies beside its weights.

        Raises:
            ScenarioError: The broadcast is of a server without the hooks.
        """
        if "round" not in beside:
            raise ScenarioError("the broadcast names no round: the server must run the bridge's server side too")
        return cls(client_id, int(beside["round"]), num_samples, num_steps, beside.get("mask"))


@dataclass(frozen=True, eq=False)
class Trained:
    """What one client's round leaves.

    Args:
        upload: What leaves the client.
        mask: ``[D]`` bool, the client's base mask at its upload, or None.
        received: ``[D]`` the broadcast.
        start: ``[D]`` weights when training began; never sent.
        batches: What it trained on; never sent.
        end: ``[D]`` weights when training was done; never sent; None in a setup round.
        own_mask: Whether the mask is another than the server's, so that it has to travel.
    """

    upload: Upload
    mask: Tensor | None
    received: Tensor
    start: Tensor
    batches: SeenBatches
    end: Tensor | None = None
    own_mask: bool = False

    @property
    def present(self) -> Tensor | None:
        """``[D]`` bool, True where a value is sent: neither pruned nor withheld; None = everywhere."""
        return intersection(self.mask, self.upload.shared)

    def packed(self, state: Mapping[str, Tensor], layout: Layout) -> StateDict:
        """Return the upload as a state dict; what is not sent has the received value, so that no mean can tell.

        Args:
            state: The local model's own entries, buffers among them.
            layout: Layout of the model.
        """
        weights, present = self.upload.weights, self.present
        if present is not None:
            weights = chosen(present, weights, self.received)
        device = next(iter(state.values())).device
        beside = {name: tensor.to(device) for name, tensor in self._beside().items()}
        return Parcel(with_weights(state, layout, weights), beside).packed()

    def _beside(self) -> dict[str, Tensor]:
        upload = self.upload
        (client_id,) = upload.client_ids
        beside = {"client": torch.tensor(client_id), "round": torch.tensor(upload.round_idx)}
        if upload.shared is not None:
            beside["shared"] = upload.shared
        if self.own_mask:
            beside["mask"] = torch.ones_like(self.received, dtype=torch.bool) if self.mask is None else self.mask
        return {**beside, **{f"extras.{name}": self._open(extra) for name, extra in upload.extras.items()}}

    def _open(self, extra: Tensor) -> Tensor:
        return applied(extra, self.upload.shared) if extra.shape == self.received.shape else extra
