"""The typed caller: order, what each plugin is shown, errors that name plugin and hook."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from priprune_plugins import PluginError, ScenarioError, hookimpl
from priprune_plugins.messages import Client, Reconstruction, Server, Upload
from priprune_plugins.plugins import PluginHost, Registered


def entry(plugin: object, kind: str = "pruners", name: str = "p") -> Registered:
    return Registered(kind, name, f"{kind}:{name}", plugin)


def recorder(name: str, calls: list[str]) -> object:
    @dataclass(frozen=True, eq=False)
    class Recorder:
        @hookimpl
        def on_round_start(self, server: Server) -> None:
            calls.append(name)

    return Recorder()


def test_hooks_run_in_scenario_order_not_last_registered_first(server: Server) -> None:
    calls: list[str] = []
    kinds = ["algorithms", "pruners", "defenses", "defenses", "trackers"]
    names = ["algorithm", "pruner", "defense-1", "defense-2", "tracker"]
    host = PluginHost([entry(recorder(n, calls), k, n) for k, n in zip(kinds, names, strict=True)])
    host.on_round_start(server)
    assert calls == names


def test_each_defence_gets_what_the_one_before_returned(client: Client, upload: Upload) -> None:
    @dataclass(frozen=True, eq=False)
    class Withhold:
        position: int

        @hookimpl
        def before_upload(self, upload: Upload) -> Upload:
            return upload.withhold(torch.arange(6) == self.position)

    host = PluginHost([entry(Withhold(1), "defenses", "a"), entry(Withhold(4), "defenses", "b")])
    final = host.before_upload(client, upload)
    assert final.shared is not None
    assert final.shared.tolist() == [True, False, True, True, False, True]


def test_an_attacker_sees_no_shared_mask_and_zeros_where_nothing_was_sent(server: Server, upload: Upload) -> None:
    seen: list[Upload] = []

    @dataclass(frozen=True, eq=False)
    class Watching:
        @hookimpl
        def on_server_receive(self, upload: Upload) -> None:
            seen.append(upload)

        @hookimpl
        def reconstruct(self, observations: Any) -> list[Reconstruction]:
            return []

    sent = replace(upload, extras={"dc": torch.ones(6)}).withhold(torch.arange(6) >= 4)
    PluginHost([entry(Watching(), "attacks")]).on_server_receive(server, sent)
    assert seen[0].shared is None
    assert seen[0].weights.tolist() == [1, 2, 3, 4, 0, 0]
    assert seen[0].extras["dc"].tolist() == [1, 1, 1, 1, 0, 0]


def failing(body: Callable[..., Any]) -> object:
    @dataclass(frozen=True, eq=False)
    class Failing:
        @hookimpl
        def before_upload(self, client: Client, upload: Upload) -> Any:
            return body(client, upload)

    return Failing()


def divides_by_zero(client: Client, upload: Upload) -> None:
    1 / 0  # noqa: B018


def sets_wrong_mask(client: Client, upload: Upload) -> None:
    client.mask = torch.ones(6)


def writes_to_upload(client: Client, upload: Upload) -> None:
    upload.weights.zero_()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (divides_by_zero, "defense p failed in before_upload: ZeroDivisionError: division by zero"),
        (sets_wrong_mask, "client.mask must be torch.bool, got torch.float32"),
        (writes_to_upload, "wrote to upload.weights in before_upload, which is read-only"),
        (lambda client, upload: upload.weights, "must return an Upload or None from before_upload, got Tensor"),
        (lambda client, upload: replace(upload, weights=torch.zeros(5)), r"must have shape \[6\], got \[5\]"),
        (lambda client, upload: replace(upload, weights=torch.zeros(6).double()), "must be torch.float32"),
        (lambda client, upload: replace(upload, shared=torch.zeros(6)), "upload.shared must be torch.bool"),
    ],
)
def test_a_plugin_that_breaks_the_contract_is_named(
    client: Client, upload: Upload, body: Callable[..., Any], message: str
) -> None:
    host = PluginHost([entry(failing(body), "defenses")])
    with pytest.raises(PluginError, match=message):
        host.before_upload(client, upload)


def test_the_cause_of_a_plugins_failure_is_chained(client: Client, upload: Upload) -> None:
    host = PluginHost([entry(failing(divides_by_zero), "defenses")])
    with pytest.raises(PluginError) as caught:
        host.before_upload(client, upload)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_scenario_error_of_a_plugin_stays_the_users(client: Client, upload: Upload) -> None:
    def asks_for_data(client: Client, upload: Upload) -> None:
        raise ScenarioError("give data.public")

    with pytest.raises(ScenarioError, match=r"data\.public"):
        PluginHost([entry(failing(asks_for_data), "defenses")]).before_upload(client, upload)


def test_hook_calls_are_traced_when_the_variable_is_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    monkeypatch.setenv("PRIPRUNE_TRACE", "1")
    host = PluginHost([entry(recorder("a", []), "pruners", "a")])
    with caplog.at_level(logging.WARNING, logger="priprune.hooks"):
        host.on_round_start(server)
    assert caplog.messages[0].startswith("on_round_start pruners:a ")


def test_the_caller_hides_nothing_it_does_not_implement() -> None:
    host = PluginHost([entry(recorder("a", []))])
    assert host.implements("on_round_start")
    assert not host.implements("on_local_step")


def test_a_plugin_that_collects_extras_is_shown_the_uploads_that_hold_one(server: Server) -> None:
    shown: list[tuple[str, ...]] = []

    class Collector:
        collects = ("scores", "masks")

        @hookimpl
        def on_server_receive(self, server: Server, upload: Upload) -> None:
            shown.append(tuple(upload.extras))

    host = PluginHost([entry(Collector())])
    for extras in ({}, {"other": torch.ones(6)}, {"masks": torch.ones(6), "other": torch.ones(6)}):
        host.on_server_receive(server, Upload((0,), 0, 1, torch.ones(6), extras=extras))
    assert shown == [("masks", "other")]
