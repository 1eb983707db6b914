"""The typed caller: order, errors that name plugin and hook, and pluggy's silences made loud."""

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from priprune_plugins import PluginError, ScenarioError, hookimpl
from priprune_plugins.hookspecs import HookSpecs
from priprune_plugins.layout import Layout
from priprune_plugins.messages import Client, Facts, LabelledSet, Observation, Reconstruction, Server, Upload
from priprune_plugins.plugins import PluginHost, Registered

HOOKS = [name for name in vars(HookSpecs) if not name.startswith("_")]


def entry(plugin: object, kind: str = "pruners", name: str = "p") -> Registered:
    return Registered(kind, name, f"{kind}:{name}", plugin)


@pytest.fixture
def facts() -> Facts:
    model = nn.Linear(2, 2)
    return Facts(
        lambda: nn.Linear(2, 2), Layout.of(model), (1, 1, 2), 2, 0.1, 1, 1, None, "fedavg", torch.zeros(1, 1, 2)
    )


@pytest.fixture
def client(facts: Facts) -> Client:
    return Client(
        client_id=3,
        round_idx=0,
        num_steps=1,
        num_samples=4,
        facts=facts,
        received=torch.arange(6.0),
        weights=torch.arange(6.0),
        mask=None,
        model=nn.Linear(2, 2),
        batches=(),
        states=lambda plugin: {},
        generators=lambda plugin: torch.Generator(),
        evaluate=lambda split: pytest.fail("not evaluated"),
    )


@pytest.fixture
def server(facts: Facts) -> Server:
    return Server(facts, torch.zeros(6), None, lambda plugin: {}, lambda plugin, round_idx: torch.Generator())


@pytest.fixture
def upload() -> Upload:
    return Upload(client_ids=(3,), round_idx=0, num_samples=4, weights=torch.arange(1.0, 7.0))


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


class Misspelt:
    @hookimpl
    def on_round_begin(self) -> None:
        """Never called."""


class Unmarked:
    def on_round_start(self, server: Server) -> None:
        """Never called."""


class NoHook:
    def scores(self) -> None:
        """No hook."""


class Defaulted:
    @hookimpl
    def on_round_start(self, server: Server = None) -> None:  # type: ignore[assignment]
        """pluggy before 1.7 would never pass the server."""


class Stranger:
    @hookimpl
    def on_round_start(self, weights: Tensor) -> None:
        """Takes what the hook does not pass."""


class Ordering:
    @hookimpl(tryfirst=True)
    def on_round_start(self, server: Server) -> None:
        """Wants to run before others."""


class Reconstructing:
    @hookimpl
    def reconstruct(self, observations: Any) -> list[Reconstruction]:
        return []


@pytest.mark.parametrize(
    ("plugin", "kind", "message"),
    [
        (Misspelt(), "pruners", "on_round_begin, which is no hook"),
        (Unmarked(), "pruners", "on_round_start without @hookimpl"),
        (NoHook(), "pruners", "implements no hook"),
        (Defaulted(), "pruners", "gives server a default"),
        (Stranger(), "pruners", "cannot take weights"),
        (Ordering(), "pruners", "asks for tryfirst"),
        (Misspelt, "pruners", "is the class Misspelt, not an instance"),
        (Reconstructing(), "defenses", "which only attacks may"),
    ],
)
def test_what_pluggy_passes_over_in_silence_is_an_error_at_start(plugin: object, kind: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        PluginHost([entry(plugin, kind)])


def test_an_attack_with_a_client_hook_is_refused() -> None:
    class Cheating(Reconstructing):
        @hookimpl
        def on_local_train_end(self, client: Client) -> None:
            """Would see the client's weights."""

    with pytest.raises(PluginError, match="attack p implements on_local_train_end: an attack sees only"):
        PluginHost([entry(Cheating(), "attacks")])


def test_two_plugins_that_compare_equal_are_refused() -> None:
    @dataclass(frozen=True)
    class Equal:
        rate: float = 0.3

        @hookimpl
        def on_round_start(self, server: Server) -> None:
            """Does nothing."""

    with pytest.raises(PluginError, match=r"eq=False"):
        PluginHost([entry(Equal(), name="a"), entry(Equal(), name="b")])


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


def test_an_attack_must_answer_once_for_every_upload(facts: Facts) -> None:
    observation = SimpleNamespace(facts=facts)
    attack = entry(Reconstructing(), "attacks", "lazy")
    with pytest.raises(PluginError, match="attack lazy must return one reconstruction for each of 1 uploads"):
        PluginHost([attack]).reconstruct(
            attack.plugin,
            [observation],
            torch.Generator(),
            lambda share: None,  # type: ignore[list-item]
        )


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


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_stands_in_the_drawn_round_with_its_arguments(hook: str) -> None:
    import priprune_plugins.hookspecs as module

    code = getattr(HookSpecs, hook).__code__
    arguments = ", ".join(name for name in code.co_varnames[1 : code.co_argcount] if name != "progress")
    assert f"{hook}({arguments})" in (module.__doc__ or "")


def test_importing_the_public_names_imports_no_torch() -> None:
    program = "import sys, priprune_plugins; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_observation_holds_no_truth_unless_the_host_grants_it() -> None:
    fields = Observation.__dataclass_fields__
    assert not fields.keys() & {"shared", "images", "batches", "truth"}
    assert (fields["start"].default, fields["labels"].default) == (None, None)


def identifying(answer: Any) -> Registered:
    class Identifying:
        @hookimpl
        def identify(self, candidates: Any) -> Any:
            return answer

    return entry(Identifying(), "attacks", "who")


def test_reconstruct_hands_over_a_copy_of_what_the_attack_remembered(facts: Facts) -> None:
    remembered = {"seen": [1]}

    class Remembering:
        @hookimpl
        def reconstruct(self, observations: Any, state: Any) -> list[Reconstruction]:
            state["seen"].append(2)
            return []

    attack = entry(Remembering(), "attacks")
    PluginHost([attack]).reconstruct(attack.plugin, [], torch.Generator(), lambda share, loss=None: None, remembered)
    assert remembered == {"seen": [1]}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "attack who must return a list of scores for each of 1 uploads, got 0 of them"),
        ([torch.zeros(2)], r"must return scores \[3\], one per candidate, got \[2\]"),
        ([[0.0, 1.0, 2.0]], r"must return scores \[3\], one per candidate, got list"),
        (torch.zeros(1, 3), "must return a list of scores for each of 1 uploads, got Tensor"),
    ],
)
def test_identify_must_score_every_candidate(answer: Any, message: str) -> None:
    attack = identifying(answer)
    offered = [LabelledSet(torch.zeros(3, 1, 1, 2), torch.zeros(3, dtype=torch.long))]
    with pytest.raises(PluginError, match=message):
        PluginHost([attack]).identify(attack.plugin, [], offered, torch.Generator(), lambda share, loss=None: None)


def test_an_attack_needs_a_result() -> None:
    class OnlyWatching:
        @hookimpl
        def on_server_receive(self, upload: Upload) -> None:
            """Looks and says nothing."""

    with pytest.raises(PluginError, match="attack p implements neither reconstruct nor identify"):
        PluginHost([entry(OnlyWatching(), "attacks")])
    with pytest.raises(PluginError, match="pruner p implements identify, which only attacks may"):
        PluginHost([entry(identifying(None).plugin, "pruners")])


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


def test_a_client_composes_at_once_where_nothing_is_pending(client: Client) -> None:
    client.compose(torch.full((6,), 9.0), torch.tensor([True, False] * 3))
    assert client.weights.tolist() == [9, 1, 9, 3, 9, 5] and client.received.tolist() == [0, 1, 2, 3, 4, 5]


def test_what_a_client_keeps_of_its_training_follows_an_edit_of_the_live_weights(client: Client) -> None:
    client.ended = torch.ones(6)
    assert client.trained is client.ended
    client.weights[0] = 7
    assert client.trained.tolist() == [7, 1, 2, 3, 4, 5]
