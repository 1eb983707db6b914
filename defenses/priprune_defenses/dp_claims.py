"""Whether noise on what is sent lets anything be promised: not where something else of the clean data leaves too."""

from collections.abc import Mapping, Sequence
from typing import Any

# Their choice depends on no data, or leaves only by the numbers sent.
_BLIND = frozenset({"random_withhold", "randomwithhold", "release", "secagg", "dp"})
# Ranked by the upload as it reaches them, so behind the noise they see the noise only.
_BY_UPLOAD = frozenset({"largest", "mix"})
_CLEAN_PRUNERS = {
    "feddst": "each client's mask is chosen by clean gradients and is sent",
    "lotteryfl": "each client's mask is chosen by its clean data and shows in what it sends",
}
_CLEAN_ALGORITHMS = {
    "ifca": "which model fits each client's clean data best is sent",
    "powerofchoice": "the loss on each candidate's clean data is sent",
    "qfedavg": "the loss on each client's clean data is sent",
}


def reasons_against(scenario: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why no epsilon holds in a run; empty where one does.

    Args:
        scenario: The resolved scenario.
    """
    names = [_short(block) for block in scenario.get("defenses", ())]
    place = names.index("dp") if "dp" in names else len(names)
    found = [
        f"{name} withholds by clean data"
        for index, name in enumerate(names)
        if name not in _BLIND and not (name in _BY_UPLOAD and index > place)
    ]
    algorithm = _short(scenario.get("algorithm") or {})
    if algorithm in _CLEAN_ALGORITHMS:
        found.append(f"{algorithm}: {_CLEAN_ALGORITHMS[algorithm]}")
    return (*found, *_of_pruner(scenario.get("pruner") or {}), *_of_buffers(scenario))


def central_claim(scenario: Mapping[str, Any]) -> float | None:
    """Return the probability of a client to be sampled in a round where ``secagg`` hides its upload, else None."""
    names: Sequence[str] = [_short(block) for block in scenario.get("defenses", ())]
    if "secagg" not in names:
        return None
    clients = scenario["data"].get("clients")
    return None if clients is None else min(1.0, scenario["algorithm"]["clients_per_round"] / clients)


def _of_pruner(pruner: Mapping[str, Any]) -> list[str]:
    name = _short(pruner) if pruner else ""
    if name in _CLEAN_PRUNERS:
        return [f"{name}: {_CLEAN_PRUNERS[name]}"]
    if name == "prunefl" and pruner.get("initial", "client") == "client":
        return ["prunefl: its first stage sends a mask chosen by one client's clean data; initial: magnitude does not"]
    return []


def _of_buffers(scenario: Mapping[str, Any]) -> list[str]:
    sends = scenario.get("aggregation", {}).get("buffers", "average") == "average"
    normalised = "resnet" in str(scenario.get("model", {}).get("name", ""))
    return ["batch-norm statistics are averaged without noise; set aggregation.buffers"] if sends and normalised else []


def _short(block: Mapping[str, Any]) -> str:
    return str(block.get("name", "")).rpartition(":")[2].lower()
