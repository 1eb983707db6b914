import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.sections import AuditSection

Write = Callable[..., Path]


def test_host_keys_and_options_are_told_apart(write: Write) -> None:
    scenario = read_scenario(write())
    assert (scenario.data.clients, scenario.dataset.options) == (20, {"size": 14})
    assert (scenario.model.init, scenario.architecture.options) == ("he", {})
    assert (scenario.algorithm.lr, scenario.federation.options) == (0.1, {})
    assert [chosen.path for chosen in scenario.selections()] == ["algorithm", "pruner", "attacks[0]", "data", "model"]


def test_defaults(write: Write) -> None:
    text = "rounds: 1\ndata: {name: digits}\nmodel: {name: mini}\nalgorithm: {name: fedavg}\n"
    scenario = read_scenario(write(text, "plain.yaml"))
    assert (scenario.name, scenario.seed, scenario.device) == ("plain", 0, "auto")
    assert (scenario.algorithm.local_steps, scenario.algorithm.epochs) == (1, None)
    assert (scenario.pruner, scenario.audit, scenario.attacks) == (None, None, ())


def test_epochs_replace_the_default_of_one_local_step(write: Write) -> None:
    scenario = read_scenario(write(), ["algorithm.epochs=2"])
    assert (scenario.algorithm.local_steps, scenario.algorithm.epochs) == (None, 2)


WRONG = [
    ("rounds: 5", "rounds: 5.0", 3, "rounds must be a whole number of at least 1, got 5.0"),
    ("rounds: 5", "rounds: true", 3, "rounds must be a whole number of at least 1, got true"),
    ("rounds: 5", "rounds: '5'", 3, "rounds must be a whole number of at least 1, got '5'"),
    ("rounds: 5", "rounds: 010", 3, "rounds must be a whole number of at least 1, got '010'"),
    ("rounds: 5", "rounds: 1:30", 3, "rounds must be a whole number of at least 1, got '1:30'"),
    ("rounds: 5", "rounds: 0", 3, "rounds must be at least 1, got 0"),
    ("seed: 3", "sead: 3", 2, "sead is unknown; did you mean 'seed'? a scenario takes aggregation, algorithm,"),
    ("init: he", "init: hee", 5, "model.init must be he or default or glorot or null, got 'hee'; did you mean 'he'?"),
    ("lr: 1e-1", "lr: 0", 9, "algorithm.lr must be above 0, got 0"),
    ("lr: 1e-1", "lr: 0.1\n  epochs: 1\n  local_steps: 1", 10, "algorithm.epochs and local_steps exclude each other"),
    ("per_round: 4", "per_round: 21", 8, "algorithm.clients_per_round must be at most data.clients (20), got 21"),
    ("name: random", "name: rendom", 11, "pruner.name: unknown pruner 'rendom'; did you mean 'random'? installed: "),
    ("name: random", "name: a:b:c", 11, "pruner.name must be a name or module:Class, got 'a:b:c'"),
    ("  name: random\n", "", 10, "pruner.name is missing"),
    ("name: gi,", "", 13, "attacks[0].name is missing"),
    ("name: gi,", "name: 3,", 13, "attacks[0].name must be text, got 3"),
    ("attacks: [{name: gi, iterations: 7}]", "attacks: gi", 13, "attacks must be a list, got 'gi'"),
    ("model: {name: mini, init: he}", "model: mini", 5, "model must be a mapping, got 'mini'; write {name: mini}"),
    ("model: {name: mini, init: he}\n", "", 1, "model is missing; a scenario needs data, model, algorithm, rounds"),
    ("name: small", "name: ../x", 1, "name must be a plain name"),
    ("name: small", "name: ..", 1, "name must be a plain name"),
    ("seed: 3", "device: gpu", 2, "device must be auto, cpu, cuda or cuda:n, got 'gpu'"),
    ("seed: 3", "capture: {rounds: [0, 5]}", 2, "capture.rounds must be below rounds (5), which count from 0, got 5"),
    ("seed: 3", "capture: {rounds: [0], every: 2}", 2, "capture.every and rounds exclude each other"),
    ("seed: 3", "capture: {clients: [20]}", 2, "capture.clients must be below data.clients (20)"),
    ("seed: 3", "audit: {rounds: [7]}", 2, "audit.rounds must be below rounds (5)"),
    (
        "seed: 3",
        "audit: {images: 5, batch_size: 2, local_steps: 3}",
        2,
        "audit.images must be at least audit.batch_size (2) times the probe's local steps (3), got 5; raise it",
    ),
    ("seed: 3", "network: {host: ' '}", 2, "network.host must be an address or a name of this machine, got ' '"),
    ("seed: 3", "network: none", 2, "network must be a mapping, got 'none'; remove the line to do without"),
    ("seed: 3", "audit: {victims: 21}", 2, "audit.victims must be at most data.clients (20), got 21; lower"),
    ("seed: 3", "network: {processes: 21}", 2, "network.processes must be at most data.clients (20), got 21; lower"),
    ("seed: 3", "aggregation: {absent: zero}", 2, "aggregation.absent must be previous or holders or zeros or null"),
    ("seed: 3", "aggregation: {abent: zeros}", 2, "aggregation.abent is unknown; did you mean 'absent'? aggregation"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG, ids=[case[3][:40] for case in WRONG])
def test_a_wrong_scenario_is_one_line_with_file_line_path_and_what_is_allowed(
    old: str, new: str, line: int, message: str, write: Write, right: str
) -> None:
    assert old in right
    path = write(right.replace(old, new))
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    assert str(caught.value).startswith(f"{path}:{line}: {message}"), str(caught.value)


def test_a_probe_may_draw_from_as_many_images_as_it_takes_and_there_may_be_a_process_for_each_client(
    write: Write,
) -> None:
    enough = ["audit={images: 6, batch_size: 2, local_steps: 3}", "network.processes=20"]
    assert read_scenario(write(), enough).audit == AuditSection(images=6, batch_size=2, local_steps=3)


def test_an_override_of_an_unknown_key_has_the_same_error_and_its_own_place(write: Write) -> None:
    with pytest.raises(ScenarioError, match=r"^--set roundz: roundz is unknown; did you mean 'rounds'\?"):
        read_scenario(write(), ["roundz=3"])


def test_null_switches_an_optional_part_off(write: Write) -> None:
    scenario = read_scenario(write(), ["pruner=null", "attacks=null", "audit=null", "capture=null"])
    assert (scenario.pruner, scenario.attacks, scenario.audit, scenario.capture.clients) == (None, (), None, 4)


def test_reading_imports_neither_torch_nor_a_plugin(write: Write, right: str) -> None:
    path = write(right.replace("name: random", "name: loud:Plugin"))
    write("raise SystemExit('imported')\n", "loud.py")
    code = (
        "import sys; from pathlib import Path; from priprune_plugins.scenario import read_scenario\n"
        f"read_scenario(Path({str(path)!r}))\n"
        "print([name for name in ('torch', 'priprune_attacks', 'fedlab', 'loud') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
