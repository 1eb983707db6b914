"""Which joined process has which clients."""

from collections.abc import Sequence
from dataclasses import dataclass

from priprune_plugins.errors import ScenarioError
from priprune_plugins.network.handshake import RefusedError


@dataclass(eq=False)
class Place:
    """One process's part in a run.

    Args:
        number: From 1, as users count.
        wish: The clients that it asks for, or None.
        clients: Those that it has, once they are dealt.
        taken: Whether somebody has it now.
    """

    number: int
    wish: range | None
    clients: Sequence[int] = ()
    taken: bool = True


class Places:
    """The places of a run: taken in the order of joining, and left vacant with their clients by whoever goes.

    Args:
        num_clients: Clients in all.
        processes: Places in all.

    Attributes:
        dealt: Whether clients have been dealt to the places.
    """

    def __init__(self, num_clients: int, processes: int) -> None:
        self._num_clients = num_clients
        self._processes = processes
        self._places: list[Place] = []
        self.dealt = False

    @property
    def missing(self) -> int:
        """How many processes are still to join before clients can be dealt."""
        return self._processes - len(self._places)

    def take(self, wish: range | None) -> Place:
        """Return a place for a process; after the deal a vacant one, with its clients.

        Args:
            wish: The clients that it asks for, or None for any.

        Raises:
            RefusedError: There is none, or others have these clients.
        """
        if wish is not None and not 0 <= wish.start < wish.stop <= self._num_clients:
            raise RefusedError(f"--clients must lie in 0-{self._num_clients - 1}, got {said(wish)}")
        return self._vacant(wish) if self.dealt else self._new(wish)

    def _new(self, wish: range | None) -> Place:
        if not self.missing:
            raise RefusedError(f"all {self._processes} places are taken: raise network.processes")
        for other in self._places:
            if wish is not None and other.wish is not None and _overlap(wish, other.wish):
                raise RefusedError(f"--clients {said(wish)}: another process has {said(other.wish)}")
        place = Place(min({*range(1, self._processes + 1)} - {other.number for other in self._places}), wish)
        self._places.append(place)
        return place

    def _vacant(self, wish: range | None) -> Place:
        for place in self._places:
            if not place.taken and (wish is None or list(wish) == list(place.clients)):
                place.taken = True
                return place
        which = "" if wish is None else f" of clients {said(wish)}"
        raise RefusedError(f"no place{which} is vacant: the run has begun with all its processes")

    def leave(self, place: Place) -> None:
        """Let a process go; before the deal its place goes with it."""
        place.taken = False
        if not self.dealt and place in self._places:
            self._places.remove(place)

    def deal(self) -> list[Place]:
        """Deal all clients: wishes first, the others in contiguous parts, in the order of the places' numbers.

        Raises:
            ScenarioError: Clients are left over, since every process has asked for its own.
        """
        self._places.sort(key=lambda place: place.number)
        wished = {client_id for place in self._places for client_id in place.wish or ()}
        rest = [client_id for client_id in range(self._num_clients) if client_id not in wished]
        free = [place for place in self._places if place.wish is None]
        if rest and not free:
            raise ScenarioError(
                f"clients {said(rest)} belong to no process: let one join without --clients, or with these"
            )
        for index, place in enumerate(free):
            place.clients = rest[index * len(rest) // len(free) : (index + 1) * len(rest) // len(free)]
        for place in self._places:
            place.clients = place.clients if place.wish is None else list(place.wish)
        self.dealt = True
        return list(self._places)


def said(clients: Sequence[int]) -> str:
    """Return how a user is told of clients, for instance ``0-96``."""
    if not clients:
        return "none"
    if clients[-1] - clients[0] + 1 != len(clients):
        return f"{clients[0]}-{clients[-1]} ({len(clients)} of them)"
    return f"{clients[0]}-{clients[-1]}" if len(clients) > 1 else str(clients[0])


def _overlap(left: range, right: range) -> bool:
    return left.start < right.stop and right.start < left.stop
