"""The bounds of a run, from per-image gradients at the weights that its captured rounds broadcast.

This is an evaluation and no attack: it may look at true images. Three things are read of a run: the captured
broadcasts, the masks' density per round, and images to take gradients of. Those are by default the global test images,
the same at every round, so that a curve over rounds shows the weights and not the sample.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from priprune_plugins.bounds.captured_rounds import CapturedRound, Source, captured_rounds, images_for, model_of
from priprune_plugins.bounds.covariance import TOLERANCE, gradient_spectrum
from priprune_plugins.bounds.document import FILE, Point, document
from priprune_plugins.bounds.gradient_gram import gradient_gram
from priprune_plugins.bounds.pruning_noise import NoiseOptions, pruning_noise
from priprune_plugins.bounds.theorem import PruneFLCounts
from priprune_plugins.errors import ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.run.assemble import World, make_plugins, make_world
from priprune_plugins.run.folder import write_json
from priprune_plugins.scenario import read_scenario
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.wording import guess


@dataclass(frozen=True)
class RunOptions:
    """How a run's bounds are evaluated.

    Args:
        images: Where the gradients' images come from.
        samples: How many images at most; ``d*`` is at most one less, so that the figures grow with it.
        tolerance: Eigenvalues at most this fraction of the largest count as 0.
        layer: A Linear layer's weight, for instance ``net.fc1.weight``, to measure Theorem 4.2 on; None = none.
        noise: What Theorem 4.2 leaves open.
    """

    images: Source = "test"
    samples: int = 100
    tolerance: float = TOLERANCE
    layer: str | None = None
    noise: NoiseOptions = field(default_factory=NoiseOptions)


def bound_run(folder: Path, options: RunOptions) -> dict[str, Any]:
    """Evaluate the bounds at every captured round of a run and write ``bound.json`` into its folder.

    Args:
        folder: A run folder.
        options: Images, tolerance, and the layer of Theorem 4.2.

    Returns:
        The content of ``bound.json``.

    Raises:
        ScenarioError: No run folder, no captures, fewer than two images, or no such layer.
    """
    if not (folder / "scenario.yaml").is_file():
        raise ScenarioError(f"{folder} is no run folder: it has no scenario.yaml; give the folder of a finished run")
    scenario = read_scenario(folder / "scenario.yaml", [])
    world = make_world(scenario, make_plugins(scenario))
    points: list[Point] = []
    notes: list[str] = []
    theorem_4_2 = None
    for captured in captured_rounds(folder, world):
        if options.layer is not None and theorem_4_2 is None:
            theorem_4_2 = _layer_noise(captured, world.facts.layout, scenario, options)
        points.append(_point(captured, folder, world, scenario, options))
        notes += _notes(captured)
    about = {"run": scenario.name, "images": options.images, "samples": options.samples, "tolerance": options.tolerance}
    content = {**document(points, about, _all_notes(notes, points, scenario)), "theorem_4_2": theorem_4_2}
    write_json(folder / FILE, content)
    return content


def _point(captured: CapturedRound, folder: Path, world: World, scenario: Scenario, options: RunOptions) -> Point:
    images = images_for(captured, folder, world, options.images, options.samples, scenario.seed)
    gram = gradient_gram(model_of(captured, world), images.images.double(), images.labels)
    spectrum = gradient_spectrum(gram, options.tolerance)
    return Point(
        rate=1 - captured.density,
        batch_size=captured.observation.facts.batch_size,
        law=spectrum.law,
        rounds=scenario.rounds,
        counts=_counts(world.facts.layout, captured.density),
        round_idx=captured.round_idx,
        samples=spectrum.samples,
        mean_share=spectrum.mean_share,
    )


def _counts(layout: Layout, density: float) -> PruneFLCounts:
    prunable = int(layout.prunable.count_nonzero())
    never_pruned = layout.num_parameters - prunable
    return PruneFLCounts(never_pruned, round(density * prunable), layout.num_parameters)


def _layer_noise(captured: CapturedRound, layout: Layout, scenario: Scenario, options: RunOptions) -> dict[str, Any]:
    dense = layout.unflatten(captured.observation.server_weights.double())
    linear = [name for name, value in dense.items() if name.endswith(".weight") and value.dim() == 2]
    name = options.layer or ""
    if name not in linear:
        meant = guess(name, linear) or ";"
        raise ScenarioError(f"--layer {name!r} is no Linear layer of the model{meant} there are {', '.join(linear)}")
    weight, rate = dense[name], 1 - captured.density
    gone = int((weight == 0).count_nonzero())
    if gone >= rate * weight.numel():
        raise ScenarioError(
            f"--layer {name}: at round {captured.round_idx} the server holds no value of a pruned weight "
            f"(rate {rate:.3g}, {gone} of {weight.numel()} weights are 0): capture an earlier round"
        )
    stream = generator(scenario.seed, "bound", "layer", name, device=weight.device)
    measured = pruning_noise(weight, dense.get(f"{name.removesuffix('weight')}bias"), rate, options.noise, stream)
    return {"layer": name, "round": captured.round_idx, **asdict(options.noise), "measured": asdict(measured)}


def _notes(captured: CapturedRound) -> list[str]:
    notes = []
    observation = captured.observation
    if observation.facts.steps(observation.num_samples) > 1:
        notes.append("an upload holds more than one local step: the theorem is about one gradient, at the broadcast")
    if len(observation.client_ids) > 1:
        notes.append("an upload is a group's: the theorem is about one client's, and B counts one client's images")
    return notes


def _all_notes(notes: Sequence[str], points: Sequence[Point], scenario: Scenario) -> list[str]:
    found = list(dict.fromkeys(notes))
    if scenario.defenses:
        found.append("p is the base pruner's rate: what the defences withhold is in none of these figures")
    if len({point.rate for point in points}) > 1:
        found.append("the rate changes over the rounds, which Assumption 2 excludes")
    return found
