"""What the server asks of a joined process for one client."""

from dataclasses import replace
from typing import Any

from priprune_plugins.network.checks import mapping, part, whole
from priprune_plugins.network.frames import FrameError
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.histories import Histories
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.visits import Visit


def job(visit: Visit) -> dict[str, Any]:
    """Return what a process that shares the scenario needs to know of a visit, beside the broadcast."""
    return {
        "client_id": visit.client_id,
        "round_idx": visit.round_idx,
        "masked": visit.mask is not None,
        "bare": not visit.host.registered,
        "states": visit.states.origin,
        "purpose": visit.purpose,
        "batch_size": visit.batch_size,
        "steps": visit.steps,
        "keep": visit.keep,
        "observed": visit.observed,
        "images": visit.images,
    }


def visit_of(value: Any, federation: Federation, histories: Histories) -> Visit:
    """Return the visit of a job, its broadcast being the federation's payload and server mask.

    Raises:
        FrameError: It is no job.
    """
    found = mapping(value, "job")
    client_id = whole(part(found, "client_id"), "client_id")
    host = PluginHost() if part(found, "bare") is True else federation.host
    return replace(
        federation.visit(client_id),
        host=host,
        states=_states(part(found, "states"), client_id, host, federation, histories),
        purpose=str(part(found, "purpose")),
        batch_size=whole(part(found, "batch_size"), "batch_size", least=1),
        steps=_or_none(part(found, "steps"), "steps"),
        keep=part(found, "keep") is True,
        observed=part(found, "observed") is True,
        images=_or_none(part(found, "images"), "images"),
    )


def _or_none(value: Any, name: str) -> int | None:
    return None if value is None else whole(value, name, least=1)


def _states(origin: Any, client_id: int, host: PluginHost, federation: Federation, histories: Histories) -> StateStore:
    match origin:
        case "own":
            return federation.states
        case "copy":
            return federation.states.fork(client_id)
        case "nothing":
            return StateStore(host.key, "nothing")
        case "history" | "new history":
            return histories.of(client_id, origin == "new history")
    raise FrameError("a job that begins from unknown states")
