"""PruneFL as a plugin: its first stage, its reconfigurations, its uploads."""

import pytest
import torch

from priprune_plugins import ScenarioError
from priprune_pruners.prunefl import PruneFL


def started(federation, build, **options):
    quick = {"every": 2, "initial_passes": 6, "initial_every": 2} | options
    return federation(PruneFL(**quick), build).setup_round()


def kept(run) -> int:
    return int((run.server.mask & run.layout.prunable).sum())


def test_first_stage_is_one_clients_and_bounds_the_first_round(federation, net) -> None:
    run = started(federation, net, rate=0.9, stop="ratio")
    assert [sorted(upload.extras) for upload in run.uploads] == [["prunefl_mask", "prunefl_weights"], [], []]
    assert not torch.equal(run.server.weights, run.initial)
    run.round()
    total = int(run.layout.prunable.sum())
    assert 0 < kept(run) <= total - round(0.9 * total)


def test_missing_first_stage_names_the_client(federation, net) -> None:
    with pytest.raises(ScenarioError, match="client 9"):
        started(federation, net, client_id=9).round()


def test_the_rate_is_kept_at_every_event(federation, net) -> None:
    run = started(federation, net, rate=0.5, initial="magnitude")
    total = int(run.layout.prunable.sum())
    masks = [run.round().server.mask.clone() for _ in range(6)]
    assert {int((~mask).sum()) for mask in masks} == {round(0.5 * total)}
    assert not torch.equal(masks[0], masks[-1])


def test_squared_gradients_are_summed_until_the_event_and_then_sent(federation, net) -> None:
    run = started(federation, net, initial="magnitude")
    run.run(4)
    sent = [bool(upload.extras) for upload in run.uploads if upload.round_idx >= 0]
    assert sent == [False] * 3 + [True] * 3 + [False] * 3 + [True] * 3
    assert all(bool((upload.extras["prunefl_squared_gradients"] >= 0).all()) for upload in run.uploads[6:9])


def test_squares_are_of_the_rounds_summed_dense_gradient(federation, net_builder) -> None:
    run = federation(PruneFL(every=1, initial="magnitude"), net_builder, num_steps=3)
    seen = []

    class Watched:
        def __getattr__(self, name):
            return getattr(plugin, name)

        def on_local_step(self, client):
            seen.append(client.loss_grad.clone())
            plugin.on_local_step(client)

    plugin, run.pruner = run.pruner, Watched()
    run.round()
    expected = 24 * (seen[0] + seen[1] + seen[2]) ** 2
    torch.testing.assert_close(run.uploads[0].extras["prunefl_squared_gradients"], expected)
    assert bool((expected[~run.uploads[0].weights.bool() & run.layout.prunable] > 0).any())


def test_withheld_squared_gradients_count_as_the_mean_over_holders(federation, net_builder) -> None:
    run = federation(PruneFL(every=1, initial="magnitude"), net_builder)
    withheld = torch.arange(run.layout.num_parameters) % 2 == 0
    run.withhold = lambda client_id, round_idx: withheld if client_id else torch.zeros_like(withheld)
    run.round()
    importance = run.states[None]["importance"]
    sent = torch.stack([upload.extras["prunefl_squared_gradients"] for upload in run.uploads])
    torch.testing.assert_close(importance[withheld], sent[0][withheld])
    torch.testing.assert_close(importance[~withheld], sent.mean(0)[~withheld])


def test_withheld_by_all_counts_as_at_the_last_event(federation, net_builder) -> None:
    run = federation(PruneFL(every=1, initial="magnitude"), net_builder).round()
    last = run.states[None]["importance"].clone()
    hidden = torch.arange(run.layout.num_parameters) < 50
    run.withhold = lambda client_id, round_idx: hidden
    run.round()
    assert torch.equal(run.states[None]["importance"][hidden], last[hidden])
    assert not torch.equal(run.states[None]["importance"], last)


def test_returning_weight_has_its_last_server_value(federation, net_builder) -> None:
    run = federation(PruneFL(rate=0.5, every=1, initial="magnitude"), net_builder)
    run.pruner.on_round_start(run.server)
    before = run.server.mask.clone()
    run.round()
    back = run.server.mask & ~before
    assert int(back.sum()) > 0
    assert torch.equal(run.server.weights[back], run.initial[back])
