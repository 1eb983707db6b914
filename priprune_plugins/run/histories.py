"""Victims that take part again and again around an audited round, with a memory apart from the training's."""

from priprune_plugins.scenario.sections import AuditSection
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.states import StateStore


def participations(audit: AuditSection, audited: int) -> range:
    """Return the rounds in which the victims of an audited round take part, that round among them."""
    first, last = audited - audit.earlier * audit.spacing, audited + audit.later * audit.spacing
    return range(first, last + 1, audit.spacing)


class Histories:
    """What plugins remember of victims that take part again and again, apart from the training's.

    It lies among the clients' states under ids that no client has, so that it is spilled and resumed like theirs.

    Args:
        federation: The running federation.
    """

    def __init__(self, federation: Federation) -> None:
        self._states = federation.states
        self._key_of = federation.host.key
        self._num_clients: int = federation.setting.data.num_clients

    def of(self, client_id: int, first: bool) -> StateStore:
        """Return the live store of a victim, empty where this is its ``first`` participation."""
        own = self._num_clients + client_id
        if first:
            self._states.clients.put(own, {})
        store = StateStore(self._key_of, "new history" if first else "history")
        store.clients.put(client_id, self._states.clients.open(own))
        return store

    def settle(self, client_id: int) -> None:
        """Let a victim's states go to a file where there are too many; its participation is over."""
        self._states.clients.settle(self._num_clients + client_id)
