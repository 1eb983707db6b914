"""Every defence with every pruner and every algorithm, and defences with each other, chosen in a scenario."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet

from priprune_plugins import ScenarioError, hookimpl
from priprune_plugins.messages import Client, Run, Upload
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.run.assemble import make_federation, make_plugins, make_world
from priprune_plugins.scenario import read_scenario
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

ALGORITHMS = {
    "fedavg": "",
    "fedprox": ", mu: 0.1",
    "scaffold": "",
    "fednova": "",
    "powerofchoice": ", candidates: 4",
    "fedasync": ", max_delay: 1",
    "feddyn": "",
    "qfedavg": "",
    "ditto": ", personal_steps: 1",
    "ifca": ", clusters: 2",
}
PRUNERS = {
    "none": "",
    "random": "",
    "magnitude": "",
    "snip": ", source: clients",
    "grasp": ", source: public",
    "synflow": ", iterations: 5",
    "feddst": ", every: 1, until: 2",
    "prunefl": ", every: 1, initial_passes: 2",
    "lotteryfl": ", accuracy: 0.0, fraction: 0.5",
}
DEFENSES = {
    "largest": "{name: largest}",
    "largest-pseudo": "{name: largest, keep_local: true, scope: layer}",
    "random_withhold": "{name: random_withhold, schedule: cosine}",
    "mix": "{name: mix, schedule: learned}",
    "priprune": "{name: priprune, alpha_init: 0.5}",
    "priprune-paper": "{name: priprune, mode: paper, compose: sample}",
    "release": "{name: release, gap: 0, hazard: 0.9}",
    "release-open": "{name: release, gap: 1, hide: false, dither: 0.0}",
}
SCENARIO = """
seed: 6
device: cpu
rounds: 2
data: {{name: digits, size: 14, train: 240, test: 60, clients: 4, partition: iid, validation: 0.5, public: 20}}
model: {{name: mlp, hidden: [20]}}
algorithm: {{name: {algorithm}, clients_per_round: 3, local_steps: 2, batch_size: 8, lr: 0.05}}
{pruner}
defenses: [{defenses}]
"""
Build = Callable[..., tuple[Federation, Run]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return what builds the federation of a scenario; ``between`` is put behind the first defence."""

    def build(
        *defenses: str, algorithm: str = "fedavg", pruner: str = "none", between: object = None
    ) -> tuple[Federation, Run]:
        block = "" if pruner == "none" else f"pruner: {{name: {pruner}, rate: 0.3{PRUNERS[pruner]}}}"
        chosen = ", ".join(DEFENSES[name] for name in defenses)
        path = tmp_path / "scenario.yaml"
        path.write_text(SCENARIO.format(algorithm=algorithm + ALGORITHMS[algorithm], pruner=block, defenses=chosen))
        scenario = read_scenario(path)
        plugins = make_plugins(scenario)
        hooked = list(plugins.hooked)
        if between is not None:
            hooked.insert(len(hooked) - len(defenses) + 1, Registered("trackers", "spy", "trackers[0]:spy", between))
        world = make_world(scenario, plugins)
        federation = make_federation(scenario, plugins, world, PluginHost(hooked))
        blocks = [{"name": selection.name, **selection.options} for selection in scenario.defenses]
        document = {"algorithm": {"name": algorithm}, "data": {"validation": 0.5}, "defenses": blocks}
        return federation, Run(tmp_path, document, world.facts)

    return build


def two_rounds(federation: Federation, run: Run) -> list[Sent]:
    """Play a run's rounds and return all uploads."""
    federation.host.on_run_start(run)
    federation.setup()
    sent: list[Sent] = []
    for round_idx in range(2):
        received = federation.train(federation.start_round(round_idx))
        federation.aggregate(received)
        federation.host.on_round_end(federation.server, {})
        sent += received
    federation.test_client(0)
    return sent


def combinations() -> Iterator[ParameterSet]:
    """All of them; those in which neither the algorithm nor the pruner is a plain one are slow, being many."""
    for defense, algorithm, pruner in product(DEFENSES, ALGORITHMS, PRUNERS):
        marks = () if algorithm == "fedavg" or pruner == "magnitude" else (pytest.mark.slow,)
        yield pytest.param(defense, algorithm, pruner, id=f"{defense}-{algorithm}-{pruner}", marks=marks)


@pytest.mark.parametrize(("defense", "algorithm", "pruner"), list(combinations()))
def test_every_defence_works_with_every_pruner_and_algorithm_or_is_refused(
    build: Build, defense: str, algorithm: str, pruner: str
) -> None:
    federation, run = build(defense, algorithm=algorithm, pruner=pruner)
    before = federation.server.weights.clone()
    if defense.startswith("release") and algorithm in ("scaffold", "feddyn"):
        with pytest.raises(ScenarioError, match=f"cannot be combined with algorithm {algorithm}"):
            two_rounds(federation, run)
        return
    if (algorithm, pruner) == ("ifca", "prunefl"):
        with pytest.raises(ScenarioError, match="prunefl: initial: magnitude"):
            two_rounds(federation, run)
        return
    sent = two_rounds(federation, run)
    assert len(sent) == 6 and bool(torch.isfinite(federation.server.weights).all())
    assert not torch.equal(federation.server.weights, before)
    for one in sent:
        if one.mask is not None:
            assert one.present is None or not (one.present & ~one.mask).any()
            assert not one.upload.weights[~one.mask].any()
        # What is withheld is withheld by the same mask from every parameter-sized element that is aggregated.
        withheld = one.withheld_rate
        assert 0 < withheld < 1 or defense in ("release", "release-open")
    if defense == "release-open":
        assert sent[0].withheld_rate == 1.0  # gap 1: nothing leaves at first
    if defense == "release":
        assert all(one.upload.shared is None for one in sent)


@dataclass(frozen=True, eq=False)
class Between:
    """Keeps what the first of two defences left of each upload."""

    seen: list[Upload] = field(default_factory=list)

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> None:
        """Keep it."""
        if client.round_idx >= 0:
            self.seen.append(upload)


PAIRS = [
    pair
    for pair in permutations(("largest", "random_withhold", "mix", "priprune", "release-open"), 2)
    if "release-open" not in pair or (pair[1] == "release-open" and pair[0] != "priprune")
]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_two_defences_withhold_what_either_withholds(build: Build, pair: tuple[str, str]) -> None:
    between = Between()
    sent = two_rounds(*build(*pair, pruner="magnitude", between=between))
    for first, last in zip(between.seen, sorted_by_round(sent), strict=True):
        assert first.shared is not None and last.upload.shared is not None
        assert not (last.upload.shared & ~first.shared).any()
        assert last.upload.shared.sum() < first.shared.sum()


def sorted_by_round(sent: list[Sent]) -> list[Sent]:
    return sorted(sent, key=lambda one: (one.upload.round_idx, one.upload.client_ids))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("priprune", "release"), "priprune, which composes start weights"),
        (("largest-pseudo", "release"), "set keep_local: false"),
        (("release", "random_withhold"), "random_withhold withholds after release"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_defences_that_cannot_work_together_are_refused_at_the_start(
    build: Build, pair: tuple[str, str], message: str
) -> None:
    with pytest.raises(ScenarioError, match=message):
        two_rounds(*build(*pair))


def test_a_round_in_which_all_clients_withhold_everything_is_kept(
    build: Build, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEFENSES, "all", "{name: priprune, mode: paper, theta: 1.0e-30}")
    federation, run = build("all")
    federation.host.on_run_start(run)
    before = federation.server.weights.clone()
    received = federation.train(federation.start_round(0))
    everything = [one for one in received if one.withheld_rate == 1.0]
    federation.aggregate(received)
    nobody = ~torch.stack([one.present for one in received]).any(0)
    assert torch.equal(federation.server.weights[nobody], before[nobody])
    assert caplog.text.count("withholds everything in round 0") == len(everything)
