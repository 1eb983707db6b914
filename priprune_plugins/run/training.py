"""The rounds of a run: train, keep what is attacked, test, record."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from priprune_plugins.errors import ScenarioError
from priprune_plugins.memory import peak_rss_bytes
from priprune_plugins.messages import Evaluation
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.audit import Auditor
from priprune_plugins.run.captures import CaptureStore
from priprune_plugins.run.checkpointing import Checkpointer
from priprune_plugins.run.folder import append_line
from priprune_plugins.run.interruption import Stop
from priprune_plugins.run.records import RoundRecords
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.traffic import summed

_TESTS_A_RUN = 50


class Training:
    """The rounds of a run, each with its line in rounds.jsonl.

    Args:
        scenario: Says when to test and what to capture.
        federation: The federation.
        host: All plugins.
        folder: The run folder.
        watcher: Is told of every round.
        saver: Writes checkpoints.
        stop: Whether somebody asked the run to stop.
        started: ``time.perf_counter()`` when the work began.
    """

    def __init__(
        self,
        scenario: Scenario,
        federation: Federation,
        host: PluginHost,
        folder: Path,
        watcher: Watcher,
        saver: Checkpointer,
        stop: Stop,
        started: float,
    ) -> None:
        self._scenario = scenario
        self._federation = federation
        self._host = host
        self._folder = folder
        self._watcher = watcher
        self._saver = saver
        self._stop = stop
        self._started = started
        self._store = CaptureStore(folder, scenario.capture.max_gib)
        self._auditor = Auditor(scenario, federation, host, self._store)
        self._every = scenario.evaluation.every or max(1, scenario.rounds // _TESTS_A_RUN)
        self._dropped = 0
        self._dead: list[str] = []
        self._elsewhere: Mapping[str, Any] = {}
        self._setup_uploads = 0
        self.setup: dict[str, Any] = {}

    def run(self, first: int = 0) -> RoundRecords:
        """Run the rounds from ``first`` on and return the records of all.

        Raises:
            Interrupted: Somebody asked the run to stop.
        """
        self._watcher.begin(self._scenario.name, self._scenario.rounds)
        if first:
            self._watcher.resumed(first)
            self._go_on(first)
        else:
            self.setup = self._setup()
        with self._stop.patiently():
            for round_idx in range(first, self._scenario.rounds):
                self._round(round_idx)
                self._saver.after_round(round_idx + 1, self._stop.asked, self.memory)
                if self._stop.asked:
                    self._stop.now()
        return RoundRecords(self._folder / "rounds.jsonl", self._scenario.rounds)

    def memory(self) -> tuple[dict[str, Any], float]:
        """Return what must be remembered from one round to the next, beside the federation, and the seconds so far."""
        remembered = {
            "setup": self.setup,
            "setup_uploads": self._setup_uploads,
            "dropped": self._dropped,
            "lost": self._federation.lost,
            "elsewhere": {} if self._federation.elsewhere is None else self._federation.elsewhere.remembered(),
            "dead": self._dead,
            "refused": self._store.refused,
        }
        return remembered, time.perf_counter() - self._started

    def remember(self, memory: Mapping[str, Any], seconds: float) -> None:
        """Take over what :meth:`memory` gave."""
        self.setup = memory["setup"]
        self._setup_uploads = memory["setup_uploads"]
        self._dropped = memory["dropped"]
        self._federation.lost = memory.get("lost", 0)
        self._elsewhere = memory.get("elsewhere", {})
        self._dead = memory["dead"]
        self._store.refused = memory["refused"]
        self._started -= seconds

    def _go_on(self, first: int) -> None:
        elsewhere = self._federation.elsewhere
        if elsewhere is not None:
            elsewhere.resume(first, self._elsewhere)
        elif self._elsewhere.get("remember"):
            raise ScenarioError(
                f"{self._folder}: what its clients remember lies with the processes that joined it: go on with "
                "priprune serve --resume, or give another --out"
            )

    def _setup(self) -> dict[str, Any]:
        uploads = self._federation.setup()
        self._setup_uploads = len(uploads)
        extras = self._federation.setup_extras
        down = self._federation.bytes_down() * len(uploads) if uploads else 0
        # The weights of a setup upload are the broadcast itself, which nobody sends back.
        return {"setup_bytes_up": sum(extras.values()), "setup_bytes_down": down, "setup_extras": extras}

    def _round(self, round_idx: int) -> None:
        started = time.perf_counter()
        sampled = self._federation.start_round(round_idx)
        wanted: Sequence[int] = ()
        if self._auditor.wants(round_idx):
            self._auditor.before_training(sampled)
            wanted = self._auditor.wanted(sampled)
        received = self._federation.train(sampled, lambda sent: self._auditor.seen(sampled, sent), wanted)
        self._dropped += len(sampled) - len(received)
        self._federation.aggregate(received)
        record = self._record(round_idx, sampled, received)
        record["claims"] = self._host.on_round_end(self._federation.server, record)
        append_line(self._folder / "rounds.jsonl", record)
        append_line(self._folder / "timing.jsonl", _timing(round_idx, started))
        self._warn_of_dead_layers(record)
        self._watcher.round_done(record)

    def _record(self, round_idx: int, sampled: Sequence[int], received: Sequence[Sent]) -> dict[str, Any]:
        tested = self._tested(round_idx)
        up, down = self._federation.traffic(received)
        losses = [sent.loss for sent in received if sent.loss is not None]
        masses = [sent.gradient_mass_withheld for sent in received if sent.gradient_mass_withheld is not None]
        return {
            "round": round_idx,
            "loss": _mean(losses),
            "accuracy": None if tested is None else tested.accuracy,
            "test_loss": None if tested is None else tested.loss,
            **self._federation.masks_of(received),
            "withheld_rate": _mean([sent.withheld_rate for sent in received]),
            "gradient_mass_withheld": _mean(masses),
            "bytes_up": up,
            "bytes_down": down,
            "extras": summed(sent.extras_bytes for sent in received),
            "clients": list(sampled),
            "dropped": len(sampled) - len(received),
            "mask_changed": self._federation.mask_changed,
        }

    def _warn_of_dead_layers(self, record: Mapping[str, Any]) -> None:
        for name in self._federation.meter.died(record["layer_density"]):
            message = f"layer {name} has no weight left from round {record['round']} on: lower pruner.rate"
            self._dead.append(message)

    def _tested(self, round_idx: int) -> Evaluation | None:
        due = (round_idx + 1) % self._every == 0 or round_idx + 1 == self._scenario.rounds
        return self._federation.test() if due else None

    def client_accuracy(self) -> float | None:
        """Return the mean accuracy over clients of the weights each would use, on its own test images."""
        count = min(self._scenario.evaluation.clients, self._federation.setting.data.num_clients)
        results = self._federation.test_clients(range(count))
        return _mean([result.accuracy for result in results if result.num_samples])

    def _withholds_openly(self) -> bool:
        """Return whether some defence should have shown withheld coordinates; by default each should."""
        defences = [entry.plugin for entry in self._host.registered if entry.kind == "defenses"]
        return any(getattr(defence, "withholds_openly", True) for defence in defences)

    def warnings(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return what went wrong without stopping the run.

        Args:
            records: One record a round.
        """
        found = list(self._dead)
        last = records[-1]["test_loss"]
        if last is None or not math.isfinite(last):
            found.append("the model diverged: its last test loss is not finite; lower algorithm.lr")
        if self._withholds_openly() and not any(record["withheld_rate"] for record in records):
            found.append("the defences withheld no coordinate in any round; does a before_upload forget to return?")
        if self._setup_uploads:
            found.append(
                f"scores were sent in the setup round (clients: {self._setup_uploads}): no attack is measured on those"
            )
        lost = self._federation.lost
        if self._dropped > lost:
            found.append(f"{self._dropped - lost} uploads held NaN or infinity and were dropped")
        if lost:
            found.append(f"{lost} uploads never came, or were refused: what their clients' processes did is said above")
        if self._store.refused:
            found.append(f"{self._store.refused} uploads were not captured: capture.max_gib is used up")
        return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _timing(round_idx: int, started: float) -> dict[str, float]:
    timing = {"round": round_idx, "seconds": time.perf_counter() - started, "peak_rss_bytes": peak_rss_bytes()}
    if torch.cuda.is_available():
        timing["peak_cuda_bytes"] = torch.cuda.max_memory_allocated()
    return timing
