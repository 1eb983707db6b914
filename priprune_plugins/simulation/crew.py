"""Who carries out a round's visits: this process one after another, or somebody who does several at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from priprune_plugins.errors import ScenarioError
from priprune_plugins.simulation.client_round import ClientRunner, Visit
from priprune_plugins.simulation.sent import Sent


class Crew(Protocol):
    """Carries out visits; whoever does it, the same visits leave the same bits."""

    def run(self, visits: Sequence[Visit]) -> Iterator[Sent | None]:
        """Yield what each visit leaves, in the order given; None for a client that is lost to the round.

        Args:
            visits: Of different clients, all of one round.
        """


@dataclass(frozen=True, eq=False)
class OneByOne:
    """Visits one client after the other on the runner's resident model, each when its result is asked for.

    Args:
        runner: Runs visits.
    """

    runner: ClientRunner

    def run(self, visits: Sequence[Visit]) -> Iterator[Sent | None]:
        """Yield what each visit leaves, in the order given."""
        return map(self.runner.run, visits)


MakeCrew = Callable[[ClientRunner], Crew]


def check_portable(runner: ClientRunner, what: str) -> None:
    """Refuse an algorithm whose clients cannot be trained by any trainer but one.

    Args:
        runner: Of the federation.
        what: What would need it, for the message.

    Raises:
        ScenarioError: What its trainer keeps of clients cannot be told apart.
    """
    if not runner.algorithm.portable:
        name = type(runner.algorithm).__name__.lower()
        raise ScenarioError(f"{what}: what the trainer of {name} keeps of one client is not known; use priprune run")
