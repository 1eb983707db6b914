"""Which uploads of a round are attacked: probes, or the training's own, and the positive control beside them."""

from collections.abc import Sequence
from dataclasses import replace

from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.captures import CaptureStore, Group, control_key, upload_key
from priprune_plugins.run.histories import Histories, participations
from priprune_plugins.scenario.sections import AuditSection
from priprune_plugins.scenario.whole import Scenario
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
        self._histories = Histories(federation)
        self._rounds = attacked_rounds(scenario) if scenario.attacks or scenario.audit is not None else frozenset()

    def wants(self, round_idx: int) -> bool:
        """Whether uploads of this round are attacked."""
        return round_idx in self._rounds or self._audited(round_idx) is not None

    def before_training(self, sampled: Sequence[int]) -> None:
        """Keep the server's side, make the probes and the controls of the current round."""
        federation = self._federation
        self._open = self._store.write_server(federation.server, federation.payload[0], federation.buffers.server)
        if not self._open:
            return
        if federation.server.round_idx in self._rounds:
            for index, client_id in enumerate(self._cycled(sampled, self._scenario.privacy.control_images)):
                self._control(index, client_id)
        if self._scenario.audit is not None:
            self._probes(self._victims(sampled, self._scenario.audit), self._scenario.audit)

    def wanted(self, sampled: Sequence[int]) -> Sequence[int]:
        """Return whose uploads of the current round's training are kept: nobody's where probes stand for them.

        Where the server sees sums only, all are wanted as soon as one is: a group's truth is that of its clients.
        """
        if not self._open or self._scenario.audit is not None:
            return ()
        kept = self._captured(sampled)
        return sampled if kept and self._federation.sums is not None else kept

    def seen(self, sampled: Sequence[int], sent: Sent) -> None:
        """Keep one of the training's own uploads; a group's where any of it is wanted."""
        of_group = sent.upload.client_ids
        if not set(self._captured(sampled)).isdisjoint(of_group):
            self._keep(upload_key(sent.upload), "training", sent, self._federation.visit(of_group[0]))

    def _captured(self, sampled: Sequence[int]) -> Sequence[int]:
        """Return those of the sampled clients that ``capture.clients`` names, or the first of them."""
        chosen = self._scenario.capture.clients
        return sampled[:chosen] if isinstance(chosen, int) else [one for one in sampled if one in chosen]

    def _cycled(self, sampled: Sequence[int], count: int) -> list[int]:
        return [sampled[index % len(sampled)] for index in range(count)]

    def _audited(self, round_idx: int) -> int | None:
        """Return the audited round whose victims take part in this one with a history of their own, or None."""
        audit = self._scenario.audit
        if audit is None or not (audit.earlier or audit.later):
            return None
        around = [audited for audited in self._rounds if round_idx in participations(audit, audited)]
        return next(iter(around), None)

    def _victims(self, sampled: Sequence[int], audit: AuditSection) -> list[int]:
        if audit.earlier or audit.later:
            return list(range(audit.victims))
        # Sampled clients first: a defence that learns has its state there.
        others = [c for c in range(self._federation.setting.data.num_clients) if c not in set(sampled)]
        return [*sampled, *others][: audit.victims]

    def _probes(self, victims: Sequence[int], audit: AuditSection) -> None:
        """Probe the victims; where the server sees sums only, those of the victims, a group of them at a time."""
        sums = self._federation.sums
        if sums is None:
            for client_id in victims:
                if probe := self._probe(client_id, audit):
                    self._receive(*probe)
            return
        probes = [probe for client_id in sorted(victims) if (probe := self._probe(client_id, audit))]
        for group in sums.groups([sent for sent, _ in probes if sent.finite]):
            self._receive(group.sent, probes[0][1])

    def _probe(self, client_id: int, audit: AuditSection) -> tuple[Sent, Visit] | None:
        # A probe of a client that trains whole epochs is one step, or it would hold all of the client's images.
        steps = audit.local_steps or self._federation.setting.steps or 1
        visit = self._federation.visit(client_id)
        audited = self._audited(visit.round_idx)
        first = audited is not None and visit.round_idx == participations(audit, audited)[0]
        visit = replace(
            visit,
            states=self._federation.states.fork(client_id) if audited is None else self._histories.of(client_id, first),
            purpose="audit",
            batch_size=audit.batch_size,
            steps=steps,
            keep=False,
            observed=True,
            images=audit.images,
        )
        sent = self._sent(visit)
        if audited is not None:
            self._histories.settle(client_id)
        return None if sent is None else (sent, visit)

    def _sent(self, visit: Visit) -> Sent | None:
        return next(iter(self._federation.crew.run([visit])))

    def _receive(self, sent: Sent, visit: Visit) -> None:
        audited = self._audited(visit.round_idx)
        self._attackers.on_server_receive(self._federation.server, sent.upload)
        group: Group = "audit" if audited in (None, visit.round_idx) else "history"
        self._keep(upload_key(sent.upload), group, sent, visit, audited)

    def _control(self, index: int, client_id: int) -> None:
        bare = PluginHost()
        visit = replace(
            self._federation.visit(client_id),
            mask=None,
            host=bare,
            states=StateStore(bare.key, "nothing"),
            purpose=f"control{index}",
            batch_size=1,
            steps=1,
            keep=False,
            observed=True,
        )
        sent = self._sent(visit)
        if sent is not None:
            self._keep(control_key(visit.round_idx, index), "control", sent, visit)

    def _keep(self, key: str, group: Group, sent: Sent, visit: Visit, audited: int | None = None) -> None:
        facts = self._federation.runner.facts_of(visit)
        if len(sent.upload.client_ids) > 1:
            facts = replace(facts, batch_size=sent.batches.batch_size)
        dense = self._federation.setting.algorithm.dense(self._federation.handler, sent.upload)
        self._store.write_upload(key, group, sent, facts, audited, dense)
