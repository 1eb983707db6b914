"""A client's half of the hooks, around any training loop that steps a torch optimiser."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor, nn

from priprune_plugins.bridges.seen_batches import SeenBatches
from priprune_plugins.bridges.setting import Setting
from priprune_plugins.bridges.task import Task, Trained
from priprune_plugins.errors import ScenarioError
from priprune_plugins.facts import Batch, Evaluation, Facts, Split
from priprune_plugins.masks import apply_
from priprune_plugins.messages import Client, Upload
from priprune_plugins.simulation.flat_model import flatten_
from priprune_plugins.simulation.states import StateStore
from priprune_plugins.simulation.steps import Steps
from priprune_plugins.simulation.training_start import pruned_start_


class ClientSide:
    """Runs the hooks of clients, one round of one client at a time.

    Args:
        setting: Plugins, facts, seed and initial weights.

    Attributes:
        states: What plugins remember of each client; lost with the process unless the framework keeps it.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.states = StateStore(setting.host.key)
        self._initial = setting.initial

    def begin(
        self,
        model: nn.Module,
        task: Task,
        loader: Iterable[Batch],
        purpose: str = "client",
        states: StateStore | None = None,
    ) -> "LocalRound":
        """Let a client receive the broadcast and make its training ready.

        Args:
            model: Holds the broadcast, on the device where it will train; its parameters become views of one vector.
            task: What the client is asked for.
            loader: Its batches, ``(images [B, C, H, W], labels [B])`` each.
            purpose: Name of the random streams: ``client``, or ``audit`` for a probe.
            states: Where plugins remember, if not in :attr:`states`.
        """
        batches = _seen(model, loader)
        return LocalRound(self._client(model, task, batches, purpose, states or self.states), batches, self.setting)

    def setup(self, model: nn.Module, task: Task, loader: Iterable[Batch]) -> Trained:
        """Return what a client sends in the setup round, which trains nothing."""
        batches = _seen(model, loader)
        client = self._client(model, task, batches, "client", self.states)
        host = self.setting.host
        host.on_setup_round(client)
        plain = _upload(client, client.received.clone())
        return Trained(host.before_upload(client, plain), client.mask, client.received, client.start, batches)

    def _client(self, model: nn.Module, task: Task, batches: SeenBatches, purpose: str, states: StateStore) -> Client:
        weights, setting = flatten_(model), self.setting
        key = (purpose, task.round_idx, task.client_id)
        return Client(
            client_id=task.client_id,
            round_idx=task.round_idx,
            num_steps=task.num_steps,
            num_samples=task.num_samples,
            facts=_on(task.facts or setting.facts, weights.device),
            received=weights.clone(),
            weights=weights,
            mask=None if task.mask is None else task.mask.to(weights.device),
            model=model,
            batches=batches,
            states=lambda plugin: states.of(plugin, task.client_id),
            generators=lambda plugin: setting.stream(plugin, *key),
            evaluate=_no_evaluation,
            initial=self._initial.to(weights.device),
        )


class LocalRound:
    """One client's round: ``with visit.steps(): <the loop over visit.batches>``, then :meth:`finish`.

    Args:
        client: The live client, its model holding the broadcast.
        seen: Its batches.
        setting: The setting.

    Attributes:
        batches: What the loop must iterate over, in place of its loader.
    """

    def __init__(self, client: Client, seen: SeenBatches, setting: Setting) -> None:
        self._client = client
        self._host = setting.host
        self._seen = seen
        self.batches = seen.loop
        self._server_mask = client.mask
        if self._host.implements("on_local_train_start"):
            self._host.on_local_train_start(client)
            client.start = pruned_start_(client.weights, client.mask, client.received, self._server_mask)

    def steps(self) -> AbstractContextManager[None]:
        """Return the context in which each optimiser step passes the hooks and keeps pruned weights at 0."""
        on_step = self._host.on_local_step if self._host.implements("on_local_step") else None
        return Steps(self._client, list(self._client.model.parameters()), on_step, None).active()

    def finish(self) -> Trained:
        """Return what the client sends.

        Raises:
            ScenarioError: The loop made no step, or moved the model while it trained.
        """
        client = self._client
        self._check_trained()
        if self._host.implements("on_local_train_end"):
            self._host.on_local_train_end(client)
            apply_(client.weights, client.mask)
        plain = _upload(client, client.weights.clone())
        upload = self._host.before_upload(client, plain)
        own = client.mask is not self._server_mask
        return Trained(upload, client.mask, client.received, client.start, self._seen, plain.weights, own)

    def _check_trained(self) -> None:
        client = self._client
        if client.step_idx == 0:
            raise ScenarioError(
                "training loop: no step of a torch optimiser over the model's parameters was made; every plugin works "
                "at those steps: train with torch.optim on model.parameters()"
            )
        first = next(client.model.parameters())
        if first.data_ptr() != client.weights.data_ptr():
            raise ScenarioError(
                "training loop: it moved or replaced the model's parameters; move the model to its device before"
            )


def _seen(model: nn.Module, loader: Iterable[Batch]) -> SeenBatches:
    return SeenBatches(loader, next(model.parameters()).device)


def _upload(client: Client, weights: Tensor) -> Upload:
    return Upload(
        client_ids=(client.client_id,),
        round_idx=client.round_idx,
        num_samples=client.num_samples,
        weights=weights,
        extras=dict(client.sent),
        buffers={name: buffer.detach().clone() for name, buffer in client.model.named_buffers()},
    )


def _on(facts: Facts, device: torch.device) -> Facts:
    layout = facts.layout
    return facts if layout.device == device else replace(facts, layout=replace(layout, device=device))


def _no_evaluation(split: Split) -> Evaluation:
    raise ScenarioError(
        f"a plugin asks for this client's {split} accuracy, which no bridge measures; choose an option without it, or "
        "use priprune run"
    )
