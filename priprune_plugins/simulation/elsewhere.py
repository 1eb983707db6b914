"""A crew whose clients live elsewhere: whatever needs a client's own data or memory is asked of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from priprune_plugins.messages import Evaluation, Upload
from priprune_plugins.simulation.crew import Crew
from priprune_plugins.simulation.visits import Visit


@runtime_checkable
class Elsewhere(Crew, Protocol):
    """What a crew must do beside :meth:`Crew.run` where this process holds nothing of any client."""

    def setup(self, visits: Sequence[Visit]) -> Iterator[Upload | None]:
        """Yield each client's upload of the setup round, in the order given; None for a client that is lost to it."""

    def evaluate(self, visits: Sequence[Visit]) -> Iterator[Evaluation | None]:
        """Yield how well the weights do that each client would use; None for a client that is lost.

        Args:
            visits: Of different clients; their payload is what the server would broadcast now.
        """

    def remembered(self) -> Mapping[str, Any]:
        """Return what must stand in a checkpoint so that clients can go on from the end of this round."""

    def resume(self, next_round: int, remembered: Mapping[str, Any]) -> None:
        """Let clients go on with ``next_round`` as they were when a checkpoint was written.

        Raises:
            ScenarioError: They cannot.
        """

    def end(self) -> None:
        """Let the clients go: nothing more will be asked of them."""
