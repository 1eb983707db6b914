"""What must hold between the sections of a scenario."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.whole import Scenario

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


def check_rules(scenario: Scenario, places: Mapping[str, str]) -> None:
    """Check a scenario as a whole.

    Args:
        scenario: Every value is of its type.
        places: ``file:line`` by path.

    Raises:
        ScenarioError: The first rule that is broken.
    """
    for path, what in _broken(scenario):
        place = places.get(path)
        raise ScenarioError(f"{place}: {path} {what}" if place else f"{path} {what}")


def is_plain_name(name: str) -> bool:
    """Whether a name can be a folder's: A-Z a-z 0-9 . _ -, at most 100."""
    return _NAME.fullmatch(name) is not None and name not in (".", "..")


def _broken(scenario: Scenario) -> Iterator[tuple[str, str]]:
    if not is_plain_name(scenario.name):
        yield "name", f"must be a plain name of A-Z a-z 0-9 . _ -, at most 100, got {scenario.name[:100]!r}"
    if not _DEVICE.fullmatch(scenario.device):
        yield "device", f"must be auto, cpu, cuda or cuda:n, got {scenario.device[:60]!r}"
    algorithm, clients = scenario.algorithm, scenario.data.clients
    if algorithm.epochs is not None and algorithm.local_steps is not None:
        yield (
            "algorithm.epochs",
            f"and local_steps exclude each other, got {algorithm.epochs} and {algorithm.local_steps}; remove one",
        )
    if clients is not None and algorithm.clients_per_round > clients:
        most = f"must be at most data.clients ({clients})"
        yield (
            "algorithm.clients_per_round",
            f"{most}, got {algorithm.clients_per_round}; lower it, or raise data.clients",
        )
    yield from _attacked(scenario)
    yield from _served(scenario)


def _served(scenario: Scenario) -> Iterator[tuple[str, str]]:
    network, clients = scenario.network, scenario.data.clients
    if network is None:
        return
    if not network.host.strip():
        yield "network.host", f"must be an address or a name of this machine, got {network.host!r}; give 127.0.0.1"
    if clients is not None and network.processes > clients:
        yield (
            "network.processes",
            f"must be at most data.clients ({clients}), got {network.processes}; lower it, or raise data.clients",
        )


def _attacked(scenario: Scenario) -> Iterator[tuple[str, str]]:
    capture, audit = scenario.capture, scenario.audit
    if capture.rounds is not None and capture.every is not None:
        yield "capture.every", "and rounds exclude each other; remove one"
    for path, rounds in (("capture.rounds", capture.rounds), ("audit.rounds", audit.rounds if audit else None)):
        late = [round_idx for round_idx in rounds or () if round_idx >= scenario.rounds]
        if late:
            yield path, f"must be below rounds ({scenario.rounds}), which count from 0, got {late[0]}"
    yield from _histories(scenario)
    yield from _drawn(scenario)
    clients = scenario.data.clients
    if audit is not None and clients is not None and audit.victims > clients:
        most = f"must be at most data.clients ({clients})"
        yield "audit.victims", f"{most}, got {audit.victims}; lower it, or raise data.clients"
    chosen = capture.clients if isinstance(capture.clients, tuple) else ()
    absent = [client_id for client_id in chosen if clients is not None and client_id >= clients]
    if absent:
        yield "capture.clients", f"must be below data.clients ({clients}), which count from 0, got {absent[0]}"


def _drawn(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Yield that a probe would meet the same image twice: nobody could tell how many are behind it."""
    audit, algorithm = scenario.audit, scenario.algorithm
    if audit is None or audit.images is None:
        return
    steps = audit.local_steps or algorithm.local_steps or 1
    if audit.images < steps * audit.batch_size:
        what = f"audit.batch_size ({audit.batch_size}) times the probe's local steps ({steps})"
        yield "audit.images", f"must be at least {what}, got {audit.images}; raise it, or lower those"


def _histories(scenario: Scenario) -> Iterator[tuple[str, str]]:
    audit = scenario.audit
    if audit is None or not (audit.earlier or audit.later):
        return
    if audit.rounds is None:
        yield "audit.earlier", "and later need audit.rounds: give the rounds that are attacked"
        return
    before, after = audit.earlier * audit.spacing, audit.later * audit.spacing
    rounds = sorted(set(audit.rounds))
    for round_idx in rounds:
        if round_idx < before or round_idx + after >= scenario.rounds:
            room = f"must leave {before} rounds before and {after} after for earlier and later"
            yield "audit.rounds", f"{room}, got {round_idx} of {scenario.rounds}"
    if any(second - first <= before + after for first, second in pairwise(rounds)):
        yield "audit.rounds", f"must lie more than {before + after} rounds apart for earlier and later, got {rounds}"
