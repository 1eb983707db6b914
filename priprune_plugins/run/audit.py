"""Which uploads of a round are attacked: probes, or the training's own, and the positive control beside them."""

from collections.abc import Sequence
from dataclasses import replace

from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.captures import CaptureStore, Group, control_key, upload_key
from priprune_plugins.scenario.sections import AuditSection, Scenario
from priprune_plugins.simulation.client_round import Visit
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.states import StateStore


def attacked_rounds(scenario: Scenario) -> frozenset[int]:
    """Return the rounds whose uploads are attacked: the audit's, else the capture's, else the first and the last."""
    last = scenario.rounds - 1
    if scenario.audit is not None and scenario.audit.rounds is not None:
        return frozenset(scenario.audit.rounds)
    if scenario.capture.rounds is not None:
        return frozenset(scenario.capture.rounds)
    if scenario.capture.every is not None:
        return frozenset(range(0, scenario.rounds, scenario.capture.every))
    return frozenset({0, last})


class Auditor:
    """Makes and keeps the uploads that attacks will see; changes no bit of the training.

    Args:
        scenario: Says which rounds and clients.
        federation: The running federation.
        host: The plugins whose client hooks a probe passes.
        store: Where captures go.
    """

    def __init__(self, scenario: Scenario, federation: Federation, host: PluginHost, store: CaptureStore) -> None:
        self._scenario = scenario
        self._federation = federation
        self._attackers = host.only(["attacks"])
        self._store = store
        self._open = False
        self._rounds = attacked_rounds(scenario) if scenario.attacks or scenario.audit is not None else frozenset()

    def wants(self, round_idx: int) -> bool:
        """Whether uploads of this round are attacked."""
        return round_idx in self._rounds

    def before_training(self, sampled: Sequence[int]) -> None:
        """Keep the server's side, make the probes and the controls of the current round."""
        federation = self._federation
        self._open = self._store.write_server(federation.server, federation.payload[0], federation.buffers.server)
        if not self._open:
            return
        for index, client_id in enumerate(self._cycled(sampled, self._scenario.privacy.control_images)):
            self._control(index, client_id)
        if self._scenario.audit is not None:
            for client_id in self._victims(sampled, self._scenario.audit.victims):
                self._probe(client_id, self._scenario.audit)

    def seen(self, sampled: Sequence[int], sent: Sent) -> None:
        """Keep one of the training's own uploads, where no probes are made."""
        chosen = self._scenario.capture.clients
        client_id = sent.upload.client_ids[0]
        wanted = sampled[:chosen] if isinstance(chosen, int) else chosen
        if self._open and self._scenario.audit is None and client_id in wanted:
            self._keep(
                upload_key(sent.upload.round_idx, client_id), "training", sent, self._federation.visit(client_id)
            )

    def _cycled(self, sampled: Sequence[int], count: int) -> list[int]:
        return [sampled[index % len(sampled)] for index in range(count)]

    def _victims(self, sampled: Sequence[int], count: int) -> list[int]:
        # Sampled clients first: a defence that learns has its state there.
        others = [c for c in range(self._federation.setting.data.num_clients) if c not in set(sampled)]
        return [*sampled, *others][:count]

    def _probe(self, client_id: int, audit: AuditSection) -> None:
        # A probe of a client that trains whole epochs is one step, or it would hold all of the client's images.
        steps = audit.local_steps or self._federation.setting.steps or 1
        visit = replace(
            self._federation.visit(client_id),
            states=self._federation.states.fork(client_id),
            purpose="audit",
            batch_size=audit.batch_size,
            steps=steps,
            keep=False,
            observed=True,
        )
        sent = self._federation.runner.run(visit)
        self._attackers.on_server_receive(self._federation.server, sent.upload)
        self._keep(upload_key(visit.round_idx, client_id), "audit", sent, visit)

    def _control(self, index: int, client_id: int) -> None:
        bare = PluginHost()
        visit = replace(
            self._federation.visit(client_id),
            mask=None,
            host=bare,
            states=StateStore(bare.key),
            purpose=f"control{index}",
            batch_size=1,
            steps=1,
            keep=False,
            observed=True,
        )
        sent = self._federation.runner.run(visit)
        self._keep(control_key(visit.round_idx, index), "control", sent, visit)

    def _keep(self, key: str, group: Group, sent: Sent, visit: Visit) -> None:
        self._store.write_upload(key, group, sent, self._federation.runner.facts_of(visit))
