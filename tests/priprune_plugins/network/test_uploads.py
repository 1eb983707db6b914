"""What of a visit travels, and what the server takes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from priprune_plugins.checkpoint.plain import pack
from priprune_plugins.network.frames import FrameError
from priprune_plugins.network.received import Expected
from priprune_plugins.network.uploads import sent_of, sent_value, upload_of, upload_value
from priprune_plugins.plugins import PluginHost
from priprune_plugins.run.assemble import make_federation, make_plugins, make_world
from priprune_plugins.scenario import read_scenario
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.setup_round import setup_upload
from priprune_plugins.simulation.visits import Visit

SCENARIO = """
rounds: 2
device: cpu
data: {name: digits, size: 14, train: 240, test: 60, clients: 6, partition: iid}
model: {name: mlp, hidden: [8]}
algorithm: {name: fednova, clients_per_round: 4, batch_size: 5, lr: 0.1}
pruner: {name: random, rate: 0.3}
defenses: [{name: largest, rate: 0.2}]
"""


Made = Callable[..., Federation]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Build the scenario's federation, with overrides."""

    def make(*overrides: str) -> Federation:
        path = tmp_path / "a.yaml"
        path.write_text(SCENARIO)
        scenario = read_scenario(path, overrides)
        plugins = make_plugins(scenario)
        federation = make_federation(scenario, plugins, make_world(scenario, plugins), PluginHost(plugins.hooked))
        federation.setup()
        federation.start_round(0)
        return federation

    return make


@pytest.fixture
def federation(made: Made) -> Federation:
    return made()


@pytest.fixture(params=[True, False], ids=["observed", "unobserved"])
def visited(federation: Federation, request: pytest.FixtureRequest) -> tuple[Visit, Sent, Expected]:
    visit = replace(federation.visit(3), observed=request.param)
    return visit, federation.runner.run(visit), Expected(federation.runner)


def test_the_server_gets_the_same_bits_but_for_what_was_withheld(visited) -> None:
    visit, sent, expected = visited
    found = sent_of(sent_value(sent, visit), visit, expected)
    shared = sent.upload.shared
    assert torch.equal(found.upload.weights[shared], sent.upload.weights[shared])
    assert not found.upload.weights[~shared].any()
    assert found.pack[0] is found.upload.weights
    assert found.mask is visit.mask
    assert found.received is visit.payload[0]
    assert found.present.equal(sent.present)
    same = ("loss", "withheld_rate", "gradient_mass_withheld", "extras_bytes", "bytes_up")
    assert [getattr(found, name) for name in same] == [getattr(sent, name) for name in same]
    assert found.upload.num_samples == sent.upload.num_samples
    assert found.batches.batch_size == sent.batches.batch_size


def test_images_travel_only_with_what_is_observed(visited) -> None:
    visit, sent, expected = visited
    value = sent_value(sent, visit)
    assert ("images" in value) == ("start" in value) == visit.observed
    found = sent_of(value, visit, expected)
    if visit.observed:
        assert all(map(torch.equal, found.truth, sent.truth))
    else:
        pixels = torch.Size(sent.truth[0].shape[1:]).numel()
        assert not any(tensor.numel() % pixels == 0 for tensor in pack(value, "left").tensors if tensor.ndim > 1)
        with pytest.raises(RuntimeError, match="stay with the client"):
            found.batches.distinct()


def test_everything_withheld_is_zero_on_the_wire(visited) -> None:
    visit, sent, _ = visited
    withheld = ~sent.upload.shared
    vectors = [t for t in pack(sent_value(sent, visit), "left").tensors if t.shape == withheld.shape]
    floats = [vector for vector in vectors if vector.is_floating_point()]
    assert floats
    assert not any(vector[withheld].any() for vector in floats)


Break = Callable[[dict[str, Any]], object]
BROKEN: dict[str, tuple[Break, str]] = {
    "short": (lambda v: v["upload"].update(weights=v["upload"]["weights"][:-1]), "upload.weights must be float32"),
    "double": (lambda v: v["pack"].__setitem__(0, v["pack"][0].double()), "pack must be float32 .*, got float64"),
    "no mask": (lambda v: v.update(mask=torch.ones(3)), "mask must be bool"),
    "fewer": (lambda v: v["pack"].pop(), "pack must hold 2 tensors"),
    "text": (lambda v: v["upload"].update(weights="weights"), "upload.weights is no tensor"),
    "samples": (lambda v: v["upload"].update(num_samples=10**6), "upload.num_samples of client 3 is 1000000"),
    "extras": (lambda v: v["upload"].update(extras={}), r"extras\['tau'\] is missing"),
    "buffers": (lambda v: v["upload"].update(buffers={"a": torch.ones(1)}), "buffers are not those of the model"),
    "missing": (lambda v: v.pop("loss"), "loss is missing"),
    "number": (lambda v: v.update(withheld_rate="0"), "withheld_rate is no number"),
    "list": (lambda v: v.update(upload=[]), "upload is no mapping"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_no_client_could_have_sent_is_refused(federation: Federation, name: str) -> None:
    visit = federation.visit(3)
    value = sent_value(federation.runner.run(visit), visit)
    change, reason = BROKEN[name]
    change(value)
    with pytest.raises(FrameError, match=reason):
        sent_of(value, visit, Expected(federation.runner))


ALGORITHM = "algorithm={{name: {}, clients_per_round: 4, batch_size: 5, lr: 0.1}}"
IMPOSSIBLE = {
    "too large": ("ifca, clusters: 3", torch.tensor([3]), "cluster must be from 0 to 2, got 3"),
    "negative": ("ifca, clusters: 3", torch.tensor([-1]), "cluster must be from 0 to 2, got -1"),
    "broken": ("ifca", torch.tensor([1.5]), r"cluster must be int64 \[1\], got float32 \[1\]"),
    "many": ("ifca", torch.tensor([1, 1]), r"cluster must be int64 \[1\], got int64 \[2\]"),
    "losses": ("qfedavg", torch.ones(2), r"loss must be floating-point \[1\], got float32 \[2\]"),
    "whole": ("qfedavg", torch.tensor([1]), r"loss must be floating-point \[1\], got int64 \[1\]"),
    "nan": ("qfedavg", torch.tensor([float("nan")]), "loss must be finite, got nan"),
}


@pytest.mark.parametrize("place", ["upload", "pack"])
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_extra_is_refused_and_refuses_no_other(made: Made, name: str, place: str) -> None:
    algorithm, wrong, reason = IMPOSSIBLE[name]
    federation = made(ALGORITHM.format(algorithm))
    visit, expected = federation.visit(3), Expected(federation.runner)
    value, honest = (sent_value(federation.runner.run(visit), visit) for _ in range(2))
    if place == "upload":
        value["upload"]["extras"][federation.setting.algorithm.codec.extras[0]] = wrong
    else:
        value["pack"][1] = wrong
    with pytest.raises(FrameError, match=reason):
        sent_of(value, visit, expected)
    assert torch.equal(sent_of(honest, visit, expected).pack[1], honest["pack"][1])


def test_an_upload_that_is_refused_for_another_reason_sets_no_shape(federation: Federation) -> None:
    visit, expected = federation.visit(3), Expected(federation.runner)
    value = sent_value(federation.runner.run(visit), visit)
    with pytest.raises(FrameError, match="mask must be bool"):
        sent_of(value | {"pack": [value["pack"][0], torch.ones(9)], "mask": torch.ones(3)}, visit, expected)
    assert torch.equal(sent_of(value, visit, expected).pack[1], value["pack"][1])


def test_of_two_first_packs_at_once_one_sets_the_shapes(federation: Federation) -> None:
    visit, expected = federation.visit(3), Expected(federation.runner)
    value = sent_value(federation.runner.run(visit), visit)
    packs = [expected.pack([value["pack"][0], extra]) for extra in (value["pack"][1], torch.ones(9))]
    expected.take(packs[0])
    with pytest.raises(FrameError, match=r"tau must be float32 \[1\], got float32 \[9\]"):
        expected.take(packs[1])


def test_a_setup_upload_has_none_of_the_algorithm_s_extras(made: Made) -> None:
    federation = made("pruner={name: snip, rate: 0.3, source: clients}", "defenses=[]")
    federation.server.round_idx = -1
    value, visit = upload_value(setup_upload(federation, 3)), federation.visit(3)
    found = upload_of(value, visit, Expected(federation.runner), trained=False)
    assert set(found.extras) == {"snip_scores"}
    with pytest.raises(FrameError, match=r"extras\['tau'\] is missing"):
        upload_of(value, visit, Expected(federation.runner))


def test_an_extra_of_the_algorithm_must_have_the_shape_of_the_first(federation: Federation) -> None:
    visit, expected = federation.visit(3), Expected(federation.runner)
    value = sent_value(federation.runner.run(visit), visit)
    sent_of(value, visit, expected)
    value["pack"][1] = torch.ones(9)
    with pytest.raises(FrameError, match=r"tau must be float32 \[1\], got float32 \[9\]"):
        sent_of(value, visit, expected)
