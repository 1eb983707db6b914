"""Captures of a framework's rounds, and attacks on them."""

import json
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from priprune_plugins.bridges.attack_captures import attack_captures
from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.leak_captures import LeakCaptures
from priprune_plugins.bridges.observed_rounds import close_round, open_round
from priprune_plugins.bridges.probes import probe
from priprune_plugins.bridges.server_side import ServerSide
from priprune_plugins.bridges.state_dicts import flat_of, unpacked
from priprune_plugins.bridges.task import Task
from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.observed import CaptureReader, all_captures
from priprune_plugins.run.truth import TruthStore
from priprune_plugins.testing.federation import LR, small_data, small_net

PLUGINS = {
    "pruner": {"name": "magnitude", "rate": 0.3},
    "defenses": [{"name": "largest", "rate": 0.3, "keep_local": True}],
}


def one_round(foreign: Any, captures: LeakCaptures, clients: tuple[int, ...] = (0, 1)) -> ServerSide:
    setting = foreign.setting(PLUGINS, captures)
    side, server = ClientSide(setting), ServerSide(setting)
    broadcast = unpacked(server.start_round(0))
    for client_id in clients:
        model, batches = small_net(), foreign.batches(client_id)
        model.load_state_dict(broadcast.state)
        visit = open_round(side, model, Task.read(broadcast.beside, client_id, 16, len(batches)), batches)
        with visit.steps():
            foreign.loop(model, visit.batches)
        close_round(side, visit)
    return server


def test_a_probe_is_one_plain_step_through_the_hooks_and_leaves_no_trace(foreign: Any) -> None:
    setting = foreign.setting(PLUGINS)
    side, broadcast = ClientSide(setting), unpacked(ServerSide(setting).start_round(0))
    model, (images, labels) = small_net(), foreign.batches()[0]
    model.load_state_dict(broadcast.state)
    before, draws = {name: t.clone() for name, t in model.state_dict().items()}, torch.get_rng_state()
    made = probe(side, model, Task.read(broadcast.beside, 0, 16, 2), [(images, labels)], 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)
    assert list(side.states.clients.known()) == []
    loss = torch.nn.functional.cross_entropy(model(images[:1]), labels[:1])
    gradient = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, list(model.parameters()))])
    stepped = flat_of(broadcast.state, setting.facts.layout) - LR * gradient
    torch.testing.assert_close(made.end, stepped * made.mask)


def test_a_probe_leaves_a_loaders_own_generator_as_found(foreign: Any) -> None:
    setting = foreign.setting({})
    broadcast, own = unpacked(ServerSide(setting).start_round(0)), torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(*foreign.batches()[0]), batch_size=4, shuffle=True, generator=own)
    before = own.get_state()
    probe(ClientSide(setting), small_net(), Task.read(broadcast.beside, 0, 8, 2), loader, 1)
    assert torch.equal(own.get_state(), before)


def test_a_capture_reads_back_as_what_the_server_holds(foreign: Any) -> None:
    server = one_round(foreign, LeakCaptures(foreign.folder, clients=(1,)))
    (capture,) = all_captures(foreign.folder / "captures")
    reader = CaptureReader(foreign.folder / "captures", foreign.facts, None, torch.device("cpu"))
    observation = reader.observation(capture)
    assert (capture.key, capture.group, capture.client_ids) == ("r000000_c00001", "audit", (1,))
    assert torch.equal(observation.server_weights, server.server.weights)
    assert torch.equal(observation.mask, server.server.mask)
    assert observation.num_images == 1
    assert torch.equal(TruthStore(foreign.folder).images(capture.key).images, foreign.batches(1)[0][0][:1])


def test_without_probes_the_trainings_own_uploads_are_kept(foreign: Any) -> None:
    one_round(foreign, LeakCaptures(foreign.folder, probe_images=None), (0,))
    (capture,) = all_captures(foreign.folder / "captures")
    truth = TruthStore(foreign.folder).images(capture.key)
    assert capture.group == "training"
    assert torch.equal(truth.images, torch.cat([images for images, _ in foreign.batches(0)]))


def test_images_that_no_attack_could_reconstruct_are_refused(foreign: Any) -> None:
    setting = foreign.setting({}, LeakCaptures(foreign.folder))
    broadcast, model = unpacked(ServerSide(setting).start_round(0)), small_net()
    ((images, labels), _) = foreign.batches()
    with pytest.raises(ScenarioError, match="standardise inside the model"):
        open_round(ClientSide(setting), model, Task.read(broadcast.beside, 0, 8, 1), [(images - 0.5, labels)])


@pytest.mark.slow
def test_attacks_are_measured_client_by_client_beside_floors_and_a_control(foreign: Any) -> None:
    one_round(foreign, LeakCaptures(foreign.folder))
    found = attack_captures(foreign.folder, foreign.facts, small_data().test, [{"name": "analytic"}], seed=7)
    lines = [json.loads(line) for line in (foreign.folder / "privacy.jsonl").read_text().splitlines()]
    assert [line["client"] for line in lines if line["group"] == "audit"] == [0, 1]
    assert sum(line["group"] == "control" for line in lines) == 3
    figures = found["attacks"]["analytic"]
    assert figures["victims"] == 2
    assert "noise" in figures["floors"]
    assert figures["positive_control"]["psnr_db"] is not None
    assert (foreign.folder / "report.html").is_file()


def test_a_folder_without_captures_is_refused(foreign: Any) -> None:
    with pytest.raises(ScenarioError, match="holds no captures"):
        attack_captures(foreign.folder, foreign.facts, small_data().test, [{"name": "analytic"}])
