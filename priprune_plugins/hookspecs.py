"""The hooks, in the order of a run; a plugin implements those that it needs.

One run::

    on_run_start(run)                       every plugin
    on_setup_round(client)                  before round 0: sampled clients, no training, the upload path of a round
    for each round
      on_round_start(server)                pruner: set or change the global mask m^t
      for each sampled client               in client-id order
        on_local_train_start(client)        set client.mask; compose the weights that training starts from
        on_local_step(client)               after backward, before the optimiser's step
        on_local_train_end(client)          pruner: the client's base mask m_i^t
        before_upload(client, upload)       defences: None (unchanged) or a new Upload, passed on to the next
      sum_uploads(server, summands)         a defence: sums over groups of clients, which then stand for their uploads
      on_server_receive(server, upload)     pruners collect, attackers observe; the upload is read-only
      [aggregation by the FedLab algorithm]
      on_aggregate_end(server)              pruner: re-prune, regrow
      on_client_evaluate(client)            personal methods set the weights that this client would use
      on_round_end(server, record)          trackers
    on_run_end(run)
    reconstruct(observations, generator, state)             attackers, on the captures: images
    identify(observations, candidates, generator, state)    attackers, on the captures: which candidate was trained on

Order within every hook: algorithm, pruner, defences in YAML order, attackers, trackers.
"""

from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from priprune_plugins.messages import (
        Client,
        LabelledSet,
        Observation,
        Progress,
        Reconstruction,
        Run,
        Server,
        State,
        Upload,
    )
    from priprune_plugins.summands import GroupSum, Summand

PROJECT = "priprune"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookSpecs:
    """Signatures of all hooks; an implementation may take fewer arguments, never others."""

    @hookspec
    def on_run_start(self, run: "Run") -> None:
        """The run begins; nothing is trained yet."""

    @hookspec
    def on_setup_round(self, client: "Client") -> None:
        """Before round 0, for each sampled client: no training; what is sent passes the upload path of a round."""

    @hookspec
    def on_round_start(self, server: "Server") -> None:
        """A round begins: a pruner sets or changes ``server.mask``; the broadcast is made after this hook."""

    @hookspec
    def on_local_train_start(self, client: "Client") -> None:
        """A client has received the broadcast: set ``client.mask``, edit ``client.weights``."""

    @hookspec
    def on_local_step(self, client: "Client") -> None:
        """After backward, before the optimiser's step: read ``client.loss_grad``, edit ``client.grad``."""

    @hookspec
    def on_local_train_end(self, client: "Client") -> None:
        """Local training is done: a pruner sets the client's base mask, and the host applies it."""

    @hookspec
    def before_upload(self, client: "Client", upload: "Upload") -> "Upload | None":
        """Return None to send ``upload`` as it is, or a new Upload, which the next defence gets.

        A defence whose uploads show no coordinate as withheld, since it sends another value there or withholds none,
        says so by an attribute ``withholds_openly = False``; of any other a run that withheld nothing is warned of.
        """

    @hookspec
    def sum_uploads(self, server: "Server", summands: "Sequence[Summand]") -> "list[GroupSum]":
        """Secure aggregation: return what the server learns of a round's clients, sums over two or more of them.

        Only one defence may have it, the last. A client that is in no sum is lost to the round. Called once a round,
        in the setup round too, and for an audit's probes; ``on_server_receive`` then gets one Upload per group.
        """
        raise NotImplementedError

    @hookspec
    def on_server_receive(self, server: "Server", upload: "Upload") -> None:
        """The server holds the upload, read-only; attackers get it without ``shared``, not-sent coordinates 0.

        A plugin that needs certain extras and nothing else names them in an attribute ``collects``: it is shown the
        uploads that hold one of them, and no vector is made for it of the others.
        """

    @hookspec
    def on_aggregate_end(self, server: "Server") -> None:
        """The FedLab algorithm has aggregated into ``server.weights``: re-prune, regrow."""

    @hookspec
    def on_client_evaluate(self, client: "Client") -> None:
        """A client's accuracy is about to be measured: set ``client.weights`` to what it would use."""

    @hookspec
    def on_round_end(self, server: "Server", record: MutableMapping[str, Any]) -> None:
        """The round is done; ``record`` is its line in rounds.jsonl and may be added to.

        What a defence adds is its claim: the last value of each entry stands in summary.json, and in the report as a
        table, where a figure ``x_assumes`` of an entry stands beside its figure ``x``.
        """

    @hookspec
    def on_run_end(self, run: "Run") -> None:
        """Everything is done but the report."""

    @hookspec
    def reconstruct(
        self,
        observations: "Sequence[Observation]",
        generator: "torch.Generator",
        progress: "Progress",
        state: "State",
    ) -> "list[Reconstruction]":
        """Return one reconstruction per observation, in order.

        ``progress`` takes the share done, in [0, 1], and the loss. ``state`` is a copy of what this attack remembered
        in ``server.state(self)``, as it stood after the last round; empty where it remembered nothing.
        """
        raise NotImplementedError

    @hookspec
    def identify(
        self,
        observations: "Sequence[Observation]",
        candidates: "Sequence[LabelledSet]",
        generator: "torch.Generator",
        progress: "Progress",
        state: "State",
    ) -> "list[Tensor]":
        """Return scores ``[N]`` per observation, one per candidate image, higher = more likely trained on.

        ``candidates[v]`` holds the true images of ``observations[v]`` at random places among public decoys, with the
        true label of each candidate: this attacker knows a labelled pool that the image is in, and not which it is.
        """
        raise NotImplementedError
