"""The typed caller: the only code that touches pluggy's hooks, and the only place that catches every exception.

A plugin's exception is raised again as :class:`PluginError` with the plugin's and the hook's name. What pluggy
passes over in silence is an error when the host is built: see :mod:`priprune_plugins.plugin_checks`.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pluggy
import torch
from torch import Tensor

from priprune_plugins.errors import PluginError, PriPruneError
from priprune_plugins.hookspecs import PROJECT, HookSpecs
from priprune_plugins.messages import Client, LabelledSet, Observation, Progress, Reconstruction, Run, Server, Upload
from priprune_plugins.plugin_answers import checked_reconstructions, checked_scores, checked_sums, checked_upload
from priprune_plugins.plugin_checks import check_plugin, check_twins
from priprune_plugins.seen_upload import seen_by_server, upload_tensors
from priprune_plugins.summands import GroupSum, Summand

TRACE_VARIABLE = "PRIPRUNE_TRACE"
logger = logging.getLogger("priprune.hooks")


@dataclass(frozen=True, eq=False)
class Registered:
    """A plugin instance with the words that errors and state use for it.

    Args:
        kind: ``algorithms``, ``pruners``, ``defenses``, ``attacks`` or ``trackers``.
        name: Name in the scenario.
        key: Its place in the scenario, for instance ``defenses[0]:largest``; names its state and its random streams.
        plugin: The instance.
    """

    kind: str
    name: str
    key: str
    plugin: object

    def __str__(self) -> str:
        return f"{self.kind.removesuffix('s')} {self.name}"


class PluginHost:
    """Calls hooks in the order algorithm, pruner, defences, attackers, trackers, with types.

    Args:
        registered: Plugins in hook order.

    Raises:
        PluginRuleError: A plugin breaks a rule of :mod:`priprune_plugins.plugin_checks`.
    """

    def __init__(self, registered: Sequence[Registered] = ()) -> None:
        self.registered = tuple(registered)
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)
        self._traced = bool(os.environ.get(TRACE_VARIABLE))
        check_twins((str(entry), entry.plugin) for entry in self.registered)
        for entry in self.registered:
            check_plugin(str(entry), entry.kind, entry.plugin)
            self._manager.register(entry.plugin, name=entry.key)
        self._manager.check_pending()
        self._callers = {hook: self._in_order(hook) for hook in vars(HookSpecs) if not hook.startswith("_")}

    def _in_order(self, hook: str) -> list[tuple[Registered, Callable[..., Any]]]:
        plugins = [entry.plugin for entry in self.registered]
        implementing = {id(impl.plugin) for impl in getattr(self._manager.hook, hook).get_hookimpls()}
        return [
            (entry, self._manager.subset_hook_caller(hook, [p for p in plugins if p is not entry.plugin]))
            for entry in self.registered
            if id(entry.plugin) in implementing
        ]

    def implements(self, hook: str) -> bool:
        """Whether any plugin implements ``hook``; the host skips the work of preparing a call that nobody takes."""
        return bool(self._callers[hook])

    def implementing(self, hook: str) -> list[object]:
        """Return the plugins that implement ``hook``, in order."""
        return [entry.plugin for entry, _ in self._callers[hook]]

    def key(self, plugin: object) -> str:
        """Return the key of a registered plugin.

        Raises:
            KeyError: The object is not a registered plugin.
        """
        for entry in self.registered:
            if entry.plugin is plugin:
                return entry.key
        raise KeyError(f"{type(plugin).__name__} is not a plugin of this run: pass self")

    def only(self, kinds: Iterable[str]) -> "PluginHost":
        """Return a host of the same plugins reduced to ``kinds``."""
        kept = set(kinds)
        return PluginHost([entry for entry in self.registered if entry.kind in kept])

    def on_run_start(self, run: Run) -> None:
        self._each("on_run_start", run=run)

    def on_setup_round(self, client: Client) -> None:
        self._each("on_setup_round", self._of(client), client=client)

    def on_round_start(self, server: Server) -> None:
        self._each("on_round_start", server=server)

    def on_local_train_start(self, client: Client) -> None:
        self._each("on_local_train_start", self._of(client), client=client)

    def on_local_step(self, client: Client) -> None:
        # Live: a gradient that a plugin asks for is guarded from then on.
        self._each("on_local_step", self._of(client), client.shown, client=client)

    def on_local_train_end(self, client: Client) -> None:
        self._each("on_local_train_end", self._of(client), client=client)

    def before_upload(self, client: Client, upload: Upload) -> Upload:
        """Pass ``upload`` through the plugins; the same object comes back where none changed it."""
        for entry, caller in self._callers["before_upload"]:
            guarded = {**self._of(client), **upload_tensors(upload)}
            answers = self._call("before_upload", entry, caller, [guarded], client=client, upload=upload)
            if answers:
                upload = checked_upload(str(entry), answers[0], client)
        return upload

    def sum_uploads(self, server: Server, summands: Sequence[Summand]) -> list[GroupSum]:
        """Let the one defence that sums uploads do so; the answer is checked to be sums over two or more clients."""
        ((entry, caller),) = self._callers["sum_uploads"]
        read_only = {
            f"{name} of client {summand.client_id}": vector
            for summand in summands
            for name, vector in summand.vectors.items()
        }
        answers = self._call("sum_uploads", entry, caller, [read_only], server=server, summands=summands)
        return checked_sums(str(entry), answers[0] if answers else None, summands)

    def on_server_receive(self, server: Server, upload: Upload) -> None:
        """Show the upload to everybody, not-sent coordinates 0; attackers get no ``shared`` and may only look."""
        callers = [(entry, caller) for entry, caller in self._callers["on_server_receive"] if _wants(entry, upload)]
        if not callers:
            return
        seen = seen_by_server(upload)
        for entry, caller in callers:
            if entry.kind != "attacks":
                shown = upload if seen is upload else replace(seen, shared=upload.shared)
                self._call("on_server_receive", entry, caller, [upload_tensors(shown)], server=server, upload=shown)
                continue
            mask = server.mask
            guarded = {**upload_tensors(seen), "server.weights": server.weights}
            guarded |= {} if mask is None else {"server.mask": mask}
            self._call("on_server_receive", entry, caller, [guarded], server=server, upload=seen)
            if server.mask is not mask:
                raise PluginError(f"{entry} set server.mask in on_server_receive: an attack may only look")

    def on_aggregate_end(self, server: Server) -> None:
        self._each("on_aggregate_end", server=server)

    def on_client_evaluate(self, client: Client) -> None:
        self._each("on_client_evaluate", self._of(client), client=client)

    def on_round_end(self, server: Server, record: MutableMapping[str, Any]) -> list[str]:
        """Let the plugins add to the round's record; return the names of the entries that defences added."""
        claims: list[str] = []
        for entry, caller in self._callers["on_round_end"]:
            before = set(record)
            self._call("on_round_end", entry, caller, (), server=server, record=record)
            claims += [name for name in record if name not in before and entry.kind == "defenses"]
        return claims

    def on_run_end(self, run: Run) -> None:
        self._each("on_run_end", run=run)

    def reconstruct(
        self,
        attack: object,
        observations: Sequence[Observation],
        generator: torch.Generator,
        progress: Progress,
        state: Mapping[str, Any] | None = None,
    ) -> list[Reconstruction]:
        """Let one attack reconstruct; the answer is checked to be one reconstruction per observation."""
        entry, answer = self._result(
            "reconstruct", attack, state, observations=observations, generator=generator, progress=progress
        )
        return checked_reconstructions(str(entry), answer, observations)

    def identify(
        self,
        attack: object,
        observations: Sequence[Observation],
        candidates: Sequence[LabelledSet],
        generator: torch.Generator,
        progress: Progress,
        state: Mapping[str, Any] | None = None,
    ) -> list[Tensor]:
        """Let one attack score candidates; the answer is checked to be one score per candidate and observation."""
        entry, answer = self._result(
            "identify",
            attack,
            state,
            observations=observations,
            candidates=candidates,
            generator=generator,
            progress=progress,
        )
        return checked_scores(str(entry), answer, candidates)

    def _result(
        self, hook: str, attack: object, state: Mapping[str, Any] | None, **arguments: object
    ) -> tuple[Registered, object]:
        for entry, caller in self._callers[hook]:
            if entry.plugin is attack:
                # A copy: what an attack writes into it must not reach its next call.
                answers = self._call(hook, entry, caller, (), **arguments, state=deepcopy(dict(state or {})))
                return entry, answers[0] if answers else None
        raise KeyError(f"{type(attack).__name__} is not an attack of this run that implements {hook}")

    @staticmethod
    def _of(client: Client) -> dict[str, Tensor]:
        vectors = {
            "client.received": client.received,
            "client.start": client.start,
            "client.initial": client.initial,
            # The server's own mask until the client sets another: an edit in place would reach every other client.
            "client.mask": client.mask,
        }
        return {name: vector for name, vector in vectors.items() if vector is not None}

    def _each(self, hook: str, *read_only: Mapping[str, Tensor], **arguments: object) -> None:
        for entry, caller in self._callers[hook]:
            self._call(hook, entry, caller, read_only, **arguments)

    def _call(
        self,
        hook: str,
        entry: Registered,
        caller: Callable[..., Any],
        read_only: Sequence[Mapping[str, Tensor]],
        **arguments: object,
    ) -> list[Any]:
        versions = {name: tensor._version for guarded in read_only for name, tensor in guarded.items()}
        started = time.perf_counter()
        try:
            answers: list[Any] = caller(**arguments)
        except PriPruneError:
            raise
        except Exception as error:
            reason = str(error).strip().split("\n")[0] or "no message"
            raise PluginError(f"{entry} failed in {hook}: {type(error).__name__}: {reason}") from error
        if written := _written(versions, read_only):
            raise PluginError(f"{entry} wrote to {written} in {hook}, which is read-only: work on a clone and assign")
        if self._traced:
            logger.warning("%s %s %.6f s", hook, entry.key, time.perf_counter() - started)
        return answers


def _written(versions: Mapping[str, int], read_only: Sequence[Mapping[str, Tensor]]) -> str | None:
    """Return the name of a vector that was written to since its version was noted, or None."""
    for guarded in read_only:
        for name, tensor in guarded.items():
            # A vector that came during the call was new, so of version 0.
            if tensor._version != versions.get(name, 0):
                return name
    return None


def _wants(entry: Registered, upload: Upload) -> bool:
    """Return whether a plugin has to be shown an upload: it may name extras without which it does nothing."""
    collects: Sequence[str] | None = getattr(entry.plugin, "collects", None)
    return collects is None or any(name in upload.extras for name in collects)
