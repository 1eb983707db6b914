"""The plugin in a scenario: what it leaves unchanged, what it hides, what it refuses, and how it meets losses."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("Crypto.Protocol.DH", reason="the extra [secagg] is not installed")

from priprune_defenses import secagg
from priprune_defenses.secagg import SecAgg, dealt, survivors_needed
from priprune_plugins import ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.messages import Run
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import make_federation, make_plugins, make_world
from priprune_plugins.scenario import read_scenario
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.summands import GroupSum, Summand

SCENARIO = """
seed: 6
device: cpu
rounds: 2
data: {{name: digits, size: 14, train: 240, test: 60, clients: 6, partition: dirichlet, public: 20, validation: 0.2}}
model: {{name: mlp, hidden: [20]}}
algorithm: {{name: {algorithm}, clients_per_round: 5, local_steps: 2, batch_size: 8, lr: 0.05}}
{rest}
defenses: [{defenses}]
"""
Build = Callable[..., Federation]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(*defenses: str, algorithm: str = "fedavg", rest: str = "") -> Federation:
        path = tmp_path / "scenario.yaml"
        path.write_text(SCENARIO.format(algorithm=algorithm, rest=rest, defenses=", ".join(defenses)))
        scenario = read_scenario(path)
        plugins = make_plugins(scenario)
        return make_federation(scenario, plugins, make_world(scenario, plugins), PluginHost(plugins.hooked))

    return build


def two_rounds(federation: Federation) -> Federation:
    federation.setup()
    for round_idx in range(2):
        federation.aggregate(federation.train(federation.start_round(round_idx)))
        federation.host.on_round_end(federation.server, {})
    return federation


def server(round_idx: int = 0) -> SimpleNamespace:
    return SimpleNamespace(round_idx=round_idx, generator=lambda plugin: generator(1, "server", round_idx))


def summands(count: int) -> list[Summand]:
    stream = torch.Generator().manual_seed(count)
    return [
        Summand(
            client_id,
            {
                "update": torch.randn(40, generator=stream),
                "samples": torch.tensor([10.0 + client_id], dtype=torch.float64),
                "kept": torch.rand(3, 2, generator=stream) < 0.5,
            },
            {"update": 10.0 + client_id},
        )
        for client_id in range(0, 2 * count, 2)
    ]


def exact(members: list[Summand], name: str) -> torch.Tensor:
    return sum(one.vectors[name].double() * one.factors.get(name, 1.0) for one in members)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_a_sum_is_that_of_the_vectors_to_half_a_step_each(bits: int) -> None:
    members = summands(5)
    (total,) = SecAgg(bits=bits).sum_uploads(server(), members)
    assert total.client_ids == (0, 2, 4, 6, 8) and total.item_bytes == 8
    off = (total.vectors["update"] - exact(members, "update")).abs().max()
    assert float(off) <= 5 * 2.0 ** -(bits + 1)
    # Numbers of 24 bits times small counts have few bits below 2**-32.
    assert bits == 32 or float(off) > 0
    for name in ("samples", "kept"):
        assert torch.equal(total.vectors[name], exact(members, name))


def test_the_keys_of_another_round_or_seed_change_no_sum() -> None:
    members = summands(4)
    first, other = (SecAgg().sum_uploads(server(round_idx), members)[0] for round_idx in (0, 1))
    assert torch.equal(first.vectors["update"], other.vectors["update"])


@pytest.mark.parametrize(
    ("size", "count", "expected"), [(0, 10, [10]), (3, 10, [4, 3, 3]), (5, 10, [5, 5]), (4, 3, [3]), (2, 5, [3, 2])]
)
def test_groups_are_neighbours_and_none_is_smaller_than_asked(size: int, count: int, expected: list[int]) -> None:
    groups = [[one.client_id for one in group] for group in dealt(summands(count), size)]
    assert [len(group) for group in groups] == expected
    assert [client_id for group in groups for client_id in group] == list(range(0, 2 * count, 2))


@pytest.mark.parametrize(
    ("threshold", "members", "expected"), [(2 / 3, 3, 2), (2 / 3, 10, 7), (0.1, 10, 2), (1.0, 4, 4), (0.5, 2, 2)]
)
def test_a_sum_opens_for_the_threshold_and_never_for_one(threshold: float, members: int, expected: int) -> None:
    assert survivors_needed(threshold, members) == expected


def test_clients_that_vanish_are_left_out_exactly() -> None:
    members = summands(10)
    losing = [SecAgg(dropout=0.3, threshold=0.3).sum_uploads(server(round_idx), members)[0] for round_idx in range(6)]
    assert {len(total.client_ids) for total in losing} - {10}
    for total in losing:
        left = [one for one in members if one.client_id in total.client_ids]
        assert torch.equal(total.vectors["kept"], exact(left, "kept"))
        assert float((total.vectors["update"] - exact(left, "update")).abs().max()) <= 10 * 2.0**-33 * (1 + 1e-6)


def test_dropout_is_the_share_that_vanishes() -> None:
    tiny = [Summand(client_id, {"update": torch.zeros(1)}) for client_id in range(10)]
    plugin = SecAgg(dropout=0.25, threshold=0.1)
    left = [len(plugin.sum_uploads(server(round_idx), tiny)[0].client_ids) for round_idx in range(20)]
    # 200 draws: three deviations.
    assert 1 - sum(left) / 200 == pytest.approx(0.25, abs=3 * math.sqrt(0.25 * 0.75 / 200))


def test_too_few_survivors_leave_the_sum_closed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    plugin = SecAgg(dropout=0.9, threshold=0.9)
    with caplog.at_level(logging.WARNING):
        assert plugin.sum_uploads(server(), summands(5)) == []
    assert "of 5 are left and 5 are needed, so their sum stays closed" in caplog.text


def test_a_lone_client_is_not_summed() -> None:
    assert SecAgg().sum_uploads(server(), summands(1)) == []


def test_a_number_that_could_wrap_is_refused_at_its_client() -> None:
    members = summands(2)
    members[1].vectors["update"][3] = 2.0**30
    with pytest.raises(ScenarioError, match=r"client 2 would send 1.29e\+10 in update.*bits: 32.*below 1.07e\+09"):
        SecAgg().sum_uploads(server(), members)
    assert SecAgg(bits=24).sum_uploads(server(), members)


def test_a_group_of_one_is_no_option() -> None:
    with pytest.raises(ScenarioError, match="group must be 2 or more, or 0"):
        SecAgg(group=1)


def test_without_the_library_the_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(secagg, "import_module", absent)
    with pytest.raises(
        ScenarioError, match=r"needs the package pycryptodome, which is not installed: .*uv run --extra secagg"
    ):
        SecAgg().check_scenario({})


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "scaffold", "fednova", "powerofchoice"])
@pytest.mark.parametrize("group", [0, 2])
def test_every_algorithm_ends_where_it_ends_without(build: Build, algorithm: str, group: int) -> None:
    # Blind to the last bits: largest would choose others where two changes are nearly the same.
    blind = "{name: random_withhold}"
    plain = two_rounds(build(blind, algorithm=algorithm))
    summed = two_rounds(build(blind, f"{{name: secagg, group: {group}}}", algorithm=algorithm))
    torch.testing.assert_close(summed.server.weights, plain.server.weights, rtol=0, atol=3e-7)
    if algorithm == "scaffold":
        torch.testing.assert_close(summed.handler.global_c, plain.handler.global_c, rtol=0, atol=1e-6)


def test_few_bits_show_in_the_result_by_their_step(build: Build) -> None:
    plain, coarse = two_rounds(build()), two_rounds(build("{name: secagg, bits: 8}"))
    off = float((plain.server.weights - coarse.server.weights).abs().max())
    fewest = min(plain.setting.data.num_samples(client_id) for client_id in range(6))
    assert 3e-6 < off < 20 * 2.0**-9 / fewest


PRUNERS = {
    "magnitude": "pruner: {name: magnitude, rate: 0.3}",
    "snip": "pruner: {name: snip, rate: 0.3, source: clients}",
    "feddst": "pruner: {name: feddst, rate: 0.3, every: 1, until: 2}\naggregation: {absent: previous}",
    "prunefl": "pruner: {name: prunefl, rate: 0.3, every: 1, initial: magnitude}",
    "lotteryfl": "pruner: {name: lotteryfl, rate: 0.3, accuracy: 0.0}\naggregation: {absent: previous}",
}


@pytest.mark.parametrize("defense", ["largest", "random_withhold", "priprune, alpha_init: 0.5", "release, gap: 0"])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_pruners_and_defences_work_before_it(build: Build, pruner: str, defense: str) -> None:
    summed = build(f"{{name: {defense}}}", "{name: secagg}", rest=PRUNERS[pruner])
    before = summed.server.weights.clone()
    two_rounds(summed)
    assert bool(torch.isfinite(summed.server.weights).all()) and not torch.equal(summed.server.weights, before)
    if pruner != "lotteryfl":
        assert summed.server.mask is not None and 0.25 < 1 - float(summed.server.mask.float().mean()) < 0.35


@pytest.mark.parametrize("pruner", ["snip", "feddst", "prunefl"])
def test_scores_and_masks_give_the_pruner_what_single_uploads_do(build: Build, pruner: str) -> None:
    plain = two_rounds(build(rest=PRUNERS[pruner]))
    summed = two_rounds(build("{name: secagg}", rest=PRUNERS[pruner]))
    assert torch.equal(summed.server.mask, plain.server.mask)
    torch.testing.assert_close(summed.server.weights, plain.server.weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("pruner: {name: feddst, rate: 0.3}", "got holders"),
        ("pruner: {name: lotteryfl, rate: 0.3}", "got holders"),
        ("pruner: {name: prunefl, rate: 0.3}", "their uploads would be seen one by one"),
        ("pruner: {name: snip, rate: 0.3, source: client}", "their uploads would be seen one by one"),
    ],
)
def test_what_needs_single_uploads_is_refused(build: Build, rest: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=f"with defense secagg.*{message}"):
        build("{name: secagg}", rest=rest)


def test_it_must_stand_last(build: Build) -> None:
    with pytest.raises(ScenarioError, match="defenses must end with defense secagg, got defense largest"):
        build("{name: secagg}", "{name: largest}")


def started(plugin: SecAgg, tmp_path: Path, **scenario: object) -> None:
    plugin.on_run_start(Run(tmp_path, scenario, facts=None))


def test_release_loses_what_a_vanished_client_sent_and_is_refused_beside_dropout(tmp_path: Path) -> None:
    release = [{"name": "release"}, {"name": "secagg"}]
    started(SecAgg(), tmp_path, defenses=release)
    with pytest.raises(ScenarioError, match=r"with dropout cannot be combined with release.*set dropout: 0"):
        started(SecAgg(dropout=0.1), tmp_path, defenses=release)


@pytest.mark.parametrize(
    ("group", "victims", "warned"), [(0, 10, False), (0, 4, True), (0, 12, True), (4, 8, False), (4, 3, True)]
)
def test_attacked_sums_over_other_numbers_of_clients_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, group: int, victims: int, warned: bool
) -> None:
    algorithm = {"name": "fedavg", "clients_per_round": 10}
    started(SecAgg(group=group), tmp_path, algorithm=algorithm, audit={"victims": victims})
    assert (f"set audit.victims: {group or 10}" in caplog.text) is warned


def test_what_power_of_choice_tells_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started(SecAgg(), tmp_path, algorithm={"name": "powerofchoice", "clients_per_round": 4})
    assert "is told outside the sum" in caplog.text


def test_vanishing_clients_leave_the_mean_of_the_others(build: Build) -> None:
    federation = build("{name: secagg, dropout: 0.4, threshold: 0.2}")
    sampled = federation.start_round(0)
    received = federation.train(sampled)
    (ids,) = {one.upload.client_ids for one in received}
    assert 2 <= len(ids) < 5
    plain = build()
    alone = {one.upload.client_ids[0]: one.upload for one in plain.train(plain.start_round(0))}
    counts = torch.tensor([alone[client_id].num_samples for client_id in ids], dtype=torch.float64)
    expected = counts @ torch.stack([alone[client_id].weights for client_id in ids]).double() / counts.sum()
    torch.testing.assert_close(received[0].upload.weights.double(), expected, rtol=0, atol=1e-7)
    assert received[0].upload.num_samples == int(counts.sum())


def test_the_answer_is_a_group_sum() -> None:
    assert all(isinstance(total, GroupSum) for total in SecAgg(group=2).sum_uploads(server(), summands(5)))
