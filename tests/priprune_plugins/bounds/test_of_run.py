"""The bounds of a real run: from its captures, against gradients taken one by one."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from priprune_plugins.bounds.of_run import RunOptions, bound_run
from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.assemble import make_plugins, make_world
from priprune_plugins.scenario import read_scenario


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def expected_spectrum(run: Path, round_idx: int) -> tuple[int, float]:
    """Return rank and Delta of the audited images' gradients, by plain passes at the captured broadcast."""
    scenario = read_scenario(run / "scenario.yaml", [])
    world = make_world(scenario, make_plugins(scenario))
    side = load_file(run / f"captures/r{round_idx:06d}.safetensors")
    model = world.facts.build_model().double()
    weights = side["server_weights"] * side["mask"]
    torch.nn.utils.vector_to_parameters(weights.double(), model.parameters())
    rows = []
    for path in sorted((run / "audit").glob(f"r{round_idx:06d}_c0*.safetensors")):
        truth = load_file(path)
        for image, label in zip(truth["images"], truth["labels"], strict=True):
            loss = cross_entropy(model(image[None].double()), label[None])
            rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))]))
    gradients = torch.stack(rows)
    values = torch.linalg.svdvals(gradients - gradients.mean(0)).square() / len(gradients)
    real = values[values > 1e-10 * values[0]]
    return len(real), -0.5 * float(real.log2().sum())


def test_audited_images_give_the_spectrum_of_their_own_gradients(run: Path) -> None:
    content = bound_run(run, RunOptions(images="audit"))
    assert [point["round"] for point in content["points"]] == [0, 1]
    for point in content["points"]:
        d_star, delta = expected_spectrum(run, point["round"])
        assert (point["samples"], point["d_star"], point["batch_size"]) == (8, d_star, 4)
        assert point["delta"] == pytest.approx(delta, abs=1e-6)
        assert point["rate"] == pytest.approx(0.3, abs=1e-4)
    assert json.loads((run / "bound.json").read_text()) == content


def test_test_images_are_counted_and_the_warnings_fit_the_run(run: Path) -> None:
    content = bound_run(run, RunOptions(samples=20))
    last = content["points"][-1]
    assert (last["samples"], last["corollary_1"]["rounds"]) == (20, 2)
    eq_23 = last["equation_23"]
    # 30% of the prunable weights are gone, and biases stay.
    assert eq_23["never_pruned"] == 8 + 16 + 512 + 10
    assert eq_23["remaining"] == pytest.approx(0.7 * (eq_23["parameters"] - eq_23["never_pruned"]), abs=1)
    text = "\n".join(content["warnings"])
    assert "rank nothing" in text and "what the defences withhold is in none of these figures" in text


def test_theorem_4_2_is_measured_on_a_named_layer(run: Path) -> None:
    found = bound_run(run, RunOptions(samples=5, layer="net.fc1.weight"))["theorem_4_2"]
    assert (found["round"], found["constant"]) == (0, 1.0)
    assert (found["measured"]["width"], found["measured"]["rate"]) == (512, pytest.approx(0.3, abs=1e-4))
    assert found["measured"]["epsilon_ap_reached"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RunOptions(images="audit", samples=1), "a covariance needs 2 or more"),
        (RunOptions(layer="net.fc1.weigth"), "did you mean 'net.fc1.weight'?"),
        (RunOptions(layer="net.conv1.weight"), "is no Linear layer of the model"),
    ],
)
def test_wrong_options_are_one_line(run: Path, options: RunOptions, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        bound_run(run, options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (run / "bound.json").exists()


def test_a_folder_without_captures_or_scenario_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "captures")
    with pytest.raises(ScenarioError, match="holds no captures"):
        bound_run(run, RunOptions())
    with pytest.raises(ScenarioError, match="is no run folder"):
        bound_run(tmp_path, RunOptions())


def test_a_pruned_weight_without_a_value_cannot_be_measured(run: Path) -> None:
    path = run / "captures/r000000.safetensors"
    side = load_file(path)
    save_file({**side, "server_weights": side["server_weights"] * side["mask"]}, path, metadata={"about": "{}"})
    with pytest.raises(ScenarioError, match="holds no value of a pruned weight"):
        bound_run(run, RunOptions(samples=5, layer="net.fc1.weight"))


def test_weights_that_diverged_are_refused(run: Path) -> None:
    path = run / "captures/r000001.safetensors"
    side = load_file(path)
    side["server_weights"][side["mask"]] = float("nan")
    save_file(side, path, metadata={"about": "{}"})
    with pytest.raises(ScenarioError, match="round 1: the captured weights are not finite"):
        bound_run(run, RunOptions(samples=5))
