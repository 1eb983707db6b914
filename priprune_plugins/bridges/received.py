"""A client's state dict, read as the upload that the hooks see."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from priprune_plugins.bridges.state_dicts import StateDict, flat_of, unpacked
from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.masks import applied, intersection
from priprune_plugins.messages import Server, Upload

_EXTRAS = "extras."


@dataclass(frozen=True, eq=False)
class Received:
    """One upload at the server.

    Args:
        amount: Images that it is weighted by.
        state: The model's own entries as they came.
        upload: What the hooks see.
        present: ``[D]`` bool, True where the client sent; None = everywhere.
    """

    amount: float
    state: StateDict
    upload: Upload
    present: Tensor | None

    @property
    def client_id(self) -> int:
        """The sender."""
        return self.upload.client_ids[0]


def read_upload(amount: float, entries: Mapping[str, Tensor], server: Server) -> Received:
    """Return the upload that a state dict carries.

    Args:
        amount: Images that it is weighted by.
        entries: The state dict.
        server: The server in the round of the upload.

    Raises:
        ScenarioError: The client runs without the hooks.
        RunError: It is of another round, or not finite.
    """
    parcel = unpacked(entries)
    device = server.weights.device
    beside = {name: tensor.to(device) for name, tensor in parcel.beside.items()}
    if "client" not in beside:
        raise ScenarioError("an upload names no client: every client must run the bridge's client side too")
    client_id, round_idx = int(beside["client"]), int(beside["round"])
    if round_idx != server.round_idx:
        raise RunError(f"client {client_id} sent an upload of round {round_idx} in round {server.round_idx}")
    weights = flat_of(parcel.state, server.layout).to(server.weights)
    shared, mask = beside.get("shared"), beside.get("mask", server.mask)
    present = intersection(mask, shared)
    upload = Upload(
        client_ids=(client_id,),
        round_idx=round_idx,
        num_samples=int(amount),
        weights=applied(weights, present),
        shared=shared,
        extras={name.removeprefix(_EXTRAS): extra for name, extra in beside.items() if name.startswith(_EXTRAS)},
        buffers={name: tensor for name, tensor in parcel.state.items() if name not in server.layout.names},
    )
    if not all(bool(tensor.isfinite().all()) for tensor in (upload.weights, *upload.extras.values())):
        raise RunError(
            f"round {round_idx}, client {client_id}: the upload holds NaN or infinity; lower the learning rate"
        )
    return Received(float(amount), parcel.state, upload, present)
