"""All that a federation remembers from one round to the next, but clients' states, as one value; and back.

Random streams need no place in it: each is derived from the seed, the round and its purpose.
"""

from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.checkpoint.plain import UnsavableError, pack
from priprune_plugins.errors import PluginError, ScenarioError
from priprune_plugins.simulation.client_states import States, unsavable
from priprune_plugins.simulation.federation import Federation

# Made anew from the scenario, or set before each visit.
_REMADE = frozenset({"_model", "flat", "dataset", "_LOGGER", "steps", "loaded", "epochs"})
_STATELESS = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, torch.device, torch.dtype)


def snapshot(federation: Federation) -> dict[str, Any]:
    """Return a federation's memory between two rounds; tensors are live, not copied.

    Trackers' states are left out: they hold what a file cannot and change no figure.
    """
    return {
        "round": federation.server.round_idx,
        "weights": federation.server.weights,
        "mask": federation.server.mask,
        "last_mask": federation.meter.last,
        "dead": sorted(federation.meter.dead),
        "buffers": {"server": federation.buffers.server, "clients": federation.buffers.clients},
        "plugins": _plugin_states(federation),
        "handler": _attributes(federation.handler),
        "trainer": _attributes(federation.runner.trainer),
    }


def restore(federation: Federation, state: Mapping[str, Any]) -> None:
    """Give a newly built federation of the same scenario the memory that :func:`snapshot` gave.

    Args:
        federation: Before its first round.
        state: From :func:`snapshot`, read from a file: nothing else may hold its tensors.
    """
    server = federation.server
    server.round_idx = state["round"]
    server.weights = state["weights"]
    server.mask = state["mask"]
    federation.meter.last = state["last_mask"]
    federation.meter.dead.update(state["dead"])
    federation.buffers.server = state["buffers"]["server"]
    federation.buffers.clients = state["buffers"]["clients"]
    federation.states.server = state["plugins"]
    _set_attributes(federation.handler, state["handler"])
    _set_attributes(federation.runner.trainer, state["trainer"])


def check_savable(federation: Federation) -> None:
    """Refuse an algorithm whose trainer or handler holds what no checkpoint can, and plugins that remember such.

    Raises:
        ScenarioError: The algorithm's, at the start of a run.
        PluginError: A plugin's.
    """
    for part in ("handler", "trainer"):
        made = federation.handler if part == "handler" else federation.runner.trainer
        try:
            pack(_attributes(made), type(made).__name__)
        except UnsavableError as error:
            raise ScenarioError(f"algorithm: its {part}'s {unsavable(error)}") from error
    for key, state in _plugin_states(federation).items():
        try:
            pack(state, f"{key}: server.state(self)")
        except UnsavableError as error:
            raise PluginError(unsavable(error)) from error


def _plugin_states(federation: Federation) -> States:
    trackers = {entry.key for entry in federation.host.registered if entry.kind == "trackers"}
    return {key: dict(state) for key, state in federation.states.server.items() if key not in trackers}


def _attributes(made: object) -> dict[str, Any]:
    """Return what a FedLab object may change while it runs; optimisers, schedules and modules by their state."""
    kept = {name: value for name, value in vars(made).items() if name not in _REMADE}
    return {name: _part(value) for name, value in kept.items() if not isinstance(value, _STATELESS)}


def _part(value: Any) -> Any:
    return value.state_dict() if _has_state(value) else value


def _has_state(value: Any) -> bool:
    return not isinstance(value, Tensor) and hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _set_attributes(made: object, kept: Mapping[str, Any]) -> None:
    for name, value in kept.items():
        live = vars(made).get(name)
        if _has_state(live):
            live.load_state_dict(value)  # type: ignore[union-attr]
        else:
            vars(made)[name] = value
