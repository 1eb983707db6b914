"""A state dict as the flat vector of the hooks, and what travels beside a model's own entries.

Frameworks send state dicts. A model's parameters are one flat vector ``[D]`` to the hooks; its buffers pass untouched.
What the hooks add, a mask for instance, travels as further entries whose names begin with ``priprune.``.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from priprune_plugins.errors import ScenarioError
from priprune_plugins.layout import Layout

StateDict = OrderedDict[str, Tensor]
_PREFIX = "priprune."


@dataclass(frozen=True, eq=False)
class Parcel:
    """What one message carries.

    Args:
        state: The model's own entries.
        beside: What the hooks added, by name without the prefix.
    """

    state: StateDict
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    def packed(self) -> StateDict:
        """Return one state dict with all entries."""
        beside = {f"{_PREFIX}{name}": tensor for name, tensor in self.beside.items()}
        return OrderedDict([*self.state.items(), *beside.items()])


def unpacked(entries: Mapping[str, Tensor]) -> Parcel:
    """Return the parcel that ``entries`` were packed from; any other state dict has nothing beside it."""
    own = OrderedDict((name, tensor) for name, tensor in entries.items() if not name.startswith(_PREFIX))
    beside = {name.removeprefix(_PREFIX): tensor for name, tensor in entries.items() if name not in own}
    return Parcel(own, beside)


def flat_of(state: Mapping[str, Tensor], layout: Layout) -> Tensor:
    """Return the parameters of ``state`` as a new vector ``[D]``.

    Raises:
        ScenarioError: A parameter is missing or has another shape: it is the state of another model.
    """
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        if name not in state or state[name].shape != shape:
            found = list(state[name].shape) if name in state else "no such entry"
            raise ScenarioError(
                f"state dict: {name} must have shape {list(shape)}, got {found}; make client and server from one model"
            )
    return torch.cat([state[name].detach().reshape(-1) for name in layout.names])


def with_weights(state: Mapping[str, Tensor], layout: Layout, weights: Tensor) -> StateDict:
    """Return ``state`` with the parameters of ``weights [D]``, each on its entry's device, with memory of its own."""
    views = layout.unflatten(weights)
    return OrderedDict(
        (name, views[name].clone().to(tensor.device) if name in views else tensor) for name, tensor in state.items()
    )


def copied_state(model: nn.Module) -> StateDict:
    """Return copies of a model's entries.

    Raises:
        ScenarioError: A parameter is frozen, has two names, or is of another type than the first.
    """
    parameters, state = dict(model.named_parameters()), model.state_dict()
    frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    if frozen:
        raise ScenarioError(f"model: {frozen[0]} is frozen; make it a buffer: every parameter passes the hooks")
    tied = set(state) - set(parameters) - {name for name, _ in model.named_buffers()}
    if tied:
        raise ScenarioError(f"model: {min(tied)} is another name of a parameter; give each name its own tensor")
    kinds = {parameter.dtype for parameter in parameters.values()}
    if len(kinds) != 1:
        raise ScenarioError(f"model: parameters must have one type, got {', '.join(sorted(map(str, kinds)))}")
    return OrderedDict((name, tensor.detach().clone()) for name, tensor in state.items())
