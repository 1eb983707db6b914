"""Inversion of a representation that the clients send, and the trend of the paper's Figure 2."""

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from priprune_attacks.feature_inversion import FeatureInversion
from priprune_attacks.representations import representation
from priprune_attacks.shared_model import model_at
from priprune_plugins import Observation, ScenarioError
from priprune_plugins.data.mnist import Mnist
from priprune_plugins.testing import check_attack

ROOT = Path(__file__).parents[2]
MNIST = Path(os.environ.get("PRIPRUNE_SHARED", ROOT.parent / "shared")) / "data" / "mnist"


@pytest.fixture
def sent(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> Callable[[str], Observation]:
    """Two digits, and the output of a layer of `mini` for them as an extra."""

    def observe(layer: str) -> Observation:
        images, labels, mean = some_digits(2)
        scene = new_scene(mean_image=mean)
        model = model_at(scene.facts, scene.weights, {})
        with torch.no_grad():
            values = representation(model, layer, images)
        observation: Observation = replace(scene.observe(images, labels), extras={"representation": values})
        return observation

    return observe


def attack(seen: Observation, plugin: FeatureInversion) -> Any:
    return plugin.reconstruct([seen], torch.Generator().manual_seed(0), lambda share, loss=None: None)[0]


def test_keeps_the_contract() -> None:
    check_attack(FeatureInversion(iterations=10, tv=(0.0,)))


def test_a_first_layers_output_gives_the_images(
    sent: Callable[[str], Observation], some_digits: Callable[..., Any], psnr: Callable[..., float]
) -> None:
    found = attack(sent("1"), FeatureInversion(layer="1", iterations=200, starts=("mean",)))
    assert psnr(found.images, some_digits(2)[0]) >= 40


def test_a_representation_that_is_sent_needs_its_layers_name(sent: Callable[[str], Observation]) -> None:
    with pytest.raises(ScenarioError, match="the clients send 'representation'; name the layer whose output it is"):
        attack(sent("1"), FeatureInversion())


def test_without_a_representation_the_layers_input_comes_from_its_gradient(
    sent: Callable[[str], Observation], some_digits: Callable[..., Any], psnr: Callable[..., float]
) -> None:
    seen = replace(sent("1"), extras={})
    found = attack(seen, FeatureInversion(iterations=200, starts=("mean",)))
    assert found.notes["images_found"] == 2
    order = [0, 1] if (found.images[0] - some_digits(2)[0][0]).abs().mean() < 0.1 else [1, 0]
    assert psnr(found.images[order], some_digits(2)[0]) >= 18


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST at {MNIST}: set PRIPRUNE_SHARED")
def test_inversion_gets_worse_with_depth_and_with_pruning() -> None:
    bench = _benchmark("feature_inversion_trend")
    data = Mnist(str(MNIST)).load()
    small = replace(data, train_images=data.train_images[:12000], train_labels=data.train_labels[:12000])
    rows, _ = bench.trend(small, [0, 10], passes=3, retrain=0.5, victims=6, iterations=150)
    figures = {(row.layer, row.density < 1): row for row in rows}
    dense = [figures[layer, False].psnr_db for layer in ("conv1", "pool1", "conv2", "fc1")]
    assert all(shallow > deep + 3 for shallow, deep in pairwise(dense))
    for layer in ("pool1", "conv2"):
        assert figures[layer, True].psnr_db < figures[layer, False].psnr_db - 2
        assert figures[layer, True].ssim < figures[layer, False].ssim


def _benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
