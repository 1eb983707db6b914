"""A crew of joined processes, each with clients of its own; what they leave is handed on in the order of the visits."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from priprune_plugins.errors import RunError, ScenarioError
from priprune_plugins.messages import Evaluation, Upload
from priprune_plugins.network.checks import mapping, number, part, whole
from priprune_plugins.network.connection import LostError
from priprune_plugins.network.frames import FrameError, encoded
from priprune_plugins.network.jobs import job
from priprune_plugins.network.memory import Memory, check_kept
from priprune_plugins.network.peer import Peer
from priprune_plugins.network.received import Expected
from priprune_plugins.network.roster import Roster
from priprune_plugins.network.uploads import sent_of, upload_of
from priprune_plugins.simulation.broadcast import Broadcast
from priprune_plugins.simulation.client_round import ClientRunner
from priprune_plugins.simulation.crew import check_portable
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.visits import Visit

_logger = logging.getLogger(__name__)
Left = TypeVar("Left")
Read = Callable[[Any, Visit], Left]


@dataclass(frozen=True, eq=False)
class _Served:
    """A broadcast as a frame, which processes are sent once for all of their clients."""

    broadcast: Broadcast
    parts: Sequence[memoryview]


class NetworkCrew:
    """Lets joined processes carry out whatever needs a client.

    Args:
        roster: Who is there.
        nonfinite: What happens to an upload that cannot be used, as ``aggregation.nonfinite`` says.
        runner: Of the server's own federation.

    Raises:
        ScenarioError: The scenario needs what lies with the clients.
    """

    def __init__(self, roster: Roster, nonfinite: Literal["drop", "stop"], runner: ClientRunner) -> None:
        check_portable(runner, "serve")
        if runner.buffers.policy == "local" and runner.buffers.server:
            raise ScenarioError(
                "aggregation.buffers: local cannot be served: the global test would need every client's own "
                "statistics, which stay with it; set average or server"
            )
        self._roster = roster
        self._nonfinite = nonfinite
        self._runner = runner
        self._expected = Expected(runner)
        self._served: _Served | None = None
        self._memory = Memory()

    def run(self, visits: Sequence[Visit]) -> Iterator[Sent | None]:
        """Yield what each visit leaves, in the order given; None where its client's process is gone."""
        return self._asked("train", "left", visits, self._sent)

    def setup(self, visits: Sequence[Visit]) -> Iterator[Upload | None]:
        """Yield each client's upload of the setup round, in the order given; None where its process is gone."""
        return self._asked("setup", "upload", visits, self._upload)

    def evaluate(self, visits: Sequence[Visit]) -> Iterator[Evaluation | None]:
        """Yield how well each client's own weights do, in the order given; None where its process is gone."""
        return self._asked("evaluate", "evaluation", visits, _evaluation)

    def remembered(self) -> Mapping[str, Any]:
        """Let every process write down what its clients remember; return under which name, and who did."""
        return self._memory.written(self._roster.here())

    def resume(self, next_round: int, remembered: Mapping[str, Any]) -> None:
        """Let every process take back what its clients remembered.

        Raises:
            ScenarioError: It lies in the run folder, or not where it should.
        """
        if self._runner.states.clients.files():
            raise ScenarioError(
                "what clients remember lies in the run folder, which priprune run has made: go on with priprune run "
                "--resume"
            )
        if remembered.get("remember"):
            check_kept(remembered)
            self._roster.gather()
            self._memory.take_back(self._roster.peers(), next_round, remembered)

    def end(self) -> None:
        """Let every process go."""
        self._roster.let_go("done")

    def _asked(self, kind: str, answer: str, visits: Sequence[Visit], read: Read[Left]) -> Iterator[Left | None]:
        self._roster.gather()
        given = [self._give(kind, answer, visit, read) for visit in visits]
        try:
            for future in given:
                left = None if future is None else future.result()
                if left is None:
                    # Ends the run where nobody is there any more.
                    self._roster.peers()
                yield left
        finally:
            for future in given:
                if future is not None:
                    future.cancel()

    def _give(self, kind: str, answer: str, visit: Visit, read: Read[Left]) -> "Future[Left | None] | None":
        peer, served = self._roster.owner(visit.client_id), self._serving(visit)
        if peer is None:
            return None
        return peer.work.submit(self._ask, peer, served, kind, answer, visit, read)

    def _serving(self, visit: Visit) -> _Served:
        buffers, found = self._runner.buffers.server, self._served
        if found is None or not found.broadcast.serves(visit, buffers):
            value = {"payload": list(visit.payload), "mask": visit.mask, "buffers": dict(buffers)}
            found = self._served = _Served(Broadcast.of(visit, buffers), encoded("broadcast", value))
        return found

    def _ask(self, peer: Peer, served: _Served, kind: str, answer: str, visit: Visit, read: Read[Left]) -> Left | None:
        """Return what one client leaves, or None where its process is gone or what came was refused."""
        try:
            if peer.broadcast is not served:
                peer.send(served.parts)
                peer.broadcast = served
            value = peer.ask(encoded(kind, job(visit)), answer, self._expected.num_bytes(visit)).value
        except LostError:
            return None
        try:
            return read(value, visit)
        except FrameError as error:
            self._refuse(peer, visit, error)
            return None

    def _refuse(self, peer: Peer, visit: Visit, error: FrameError) -> None:
        what = f"round {visit.round_idx}, client {visit.client_id}: {peer.name} sent what cannot be used: {error}"
        if self._nonfinite == "stop":
            raise RunError(f"{what}; let aggregation.nonfinite: drop go on without it")
        _logger.warning("%s; it is dropped", what)

    def _sent(self, value: Any, visit: Visit) -> Sent:
        self._memory.note(value)
        return sent_of(value, visit, self._expected)

    def _upload(self, value: Any, visit: Visit) -> Upload:
        self._memory.note(value)
        upload = upload_of(part(value, "upload"), visit, self._expected, trained=False)
        if not all(bool(torch.isfinite(extra).all()) for extra in upload.extras.values() if extra.is_floating_point()):
            raise FrameError("an extra of the setup round holds NaN or infinity")
        return upload


def _evaluation(value: Any, visit: Visit) -> Evaluation:
    found = mapping(value, "evaluation")
    loss, accuracy = (number(part(found, name), name) for name in ("loss", "accuracy"))
    return Evaluation(loss, accuracy, whole(part(found, "num_samples"), "num_samples"))
