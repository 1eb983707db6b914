"""From a scenario to live objects: data, model, plugins, federation."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from priprune_plugins.catalogue import load_class
from priprune_plugins.data.federation import FederatedImages, federate
from priprune_plugins.errors import PluginRuleError, ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.messages import Facts
from priprune_plugins.models.build import ModelPlugin, build_model, check_forward
from priprune_plugins.models.initialise import Init
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.run.client_ids import check_client_ids
from priprune_plugins.run.device import resolved_device
from priprune_plugins.run.smallest_batch import smallest_batch
from priprune_plugins.run.truth import GRANT_NAMES, granted
from priprune_plugins.scenario.options import build_plugin
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.aggregation import Absent
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining, clients_checked
from priprune_plugins.simulation.cohort_choice import CohortChoice
from priprune_plugins.simulation.crew import MakeCrew
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.setting import Setting


@dataclass(frozen=True, eq=False)
class Plugins:
    """Every plugin instance of a scenario.

    Args:
        algorithm: The FedLab algorithm.
        dataset: Gives the images.
        architecture: Builds the model.
        hooked: Pruner, defences, attacks and trackers, in hook order.
    """

    algorithm: Algorithm
    dataset: Any
    architecture: Any
    hooked: tuple[Registered, ...]

    def attacks(self) -> list[Registered]:
        """Return the attacks in YAML order."""
        return [entry for entry in self.hooked if entry.kind == "attacks"]

    def instances(self) -> list[object]:
        """Return every instance in the order of :meth:`Scenario.selections`."""
        return [self.algorithm, *(entry.plugin for entry in self.hooked), self.dataset, self.architecture]


def make_plugins(scenario: Scenario) -> Plugins:
    """Import the chosen plugins and make them with their options.

    Raises:
        ScenarioError: A plugin or one of its options is wrong.
    """
    pruner = () if scenario.pruner is None else (scenario.pruner,)
    chosen = (*pruner, *scenario.defenses, *scenario.attacks, *scenario.trackers)
    return Plugins(
        algorithm=_algorithm(scenario.federation),
        dataset=_made(scenario.dataset),
        architecture=_architecture(scenario.architecture),
        hooked=tuple(relabelled([registered(selection) for selection in chosen])),
    )


def relabelled(plugins: Sequence[Registered]) -> list[Registered]:
    """Return the plugins with labels that are unique within their kind: ``sgi``, ``sgi-2``."""
    seen: Counter[tuple[str, str]] = Counter()
    labels = []
    for entry in plugins:
        seen[entry.kind, entry.name] += 1
        labels.append(numbered(entry.name, seen[entry.kind, entry.name]))
    return [replace(entry, name=label) for entry, label in zip(plugins, labels, strict=True)]


def numbered(label: str, number: int) -> str:
    """Return the label of the ``number``-th plugin of one name, from 1."""
    return label if number == 1 else f"{label}-{number}"


def registered(selection: Selection) -> Registered:
    """Make one hooked plugin; an attack that is granted truth has that in its name: ``sgi-oracle``."""
    plugin = _made(selection)
    given = granted(plugin) if selection.kind == "attacks" else ()
    name = "-".join([selection.name.rpartition(":")[2], *(GRANT_NAMES[truth] for truth in given)])
    return Registered(selection.kind, name, f"{selection.path}:{selection.name}", plugin)


def _made(selection: Selection) -> Any:
    return build_plugin(selection, load_class(selection))


def _algorithm(selection: Selection) -> Algorithm:
    made = _made(selection)
    if not isinstance(made, Algorithm):
        raise ScenarioError(
            f"{selection.at('name')} must be a subclass of Algorithm, got {selection.name!r}; derive it from "
            "Algorithm, or give trainer and handler of FedLab's to algorithm fedlab"
        )
    return made


def _architecture(selection: Selection) -> ModelPlugin:
    cls, how = load_class(selection), "a dataclass with build(image_shape, num_classes)"
    if issubclass(cls, nn.Module):
        raise ScenarioError(
            f"{selection.at('name')} must be {how}, got the nn.Module {cls.__name__} itself; let build return one"
        )
    if not callable(getattr(cls, "build", None)):
        raise ScenarioError(f"{selection.at('name')} must be {how}, got {cls.__name__} without build; add it")
    made: ModelPlugin = build_plugin(selection, cls)
    return made


@dataclass(frozen=True, eq=False)
class World:
    """What stays the same during a run: device, data, public facts."""

    device: torch.device
    data: FederatedImages
    facts: Facts
    model: nn.Module


def make_world(scenario: Scenario, plugins: Plugins) -> World:
    """Load the data, deal it to clients and build the initialised model on the device."""
    device = resolved_device(scenario.device)
    images = plugins.dataset.load()
    data = federate(images, scenario.data, scenario.seed).to(device)
    shape = images.image_shape
    build = _builder(plugins.architecture, shape, images.num_classes, images.mean, images.std, scenario.model.init)
    smallest, why = smallest_batch(scenario, local_steps(scenario), data.train_indices)
    try:
        model = build(generator(scenario.seed, "init")).to(device)
        check_forward(model, shape, images.num_classes, smallest, why)
    except PluginRuleError as error:
        raise PluginRuleError(f"{scenario.architecture.at('name')} {scenario.architecture.name}: {error}") from error
    facts = Facts(
        # The streams differ, so that nobody who knows the facts knows the initial weights.
        build_model=lambda: build(generator(0, "public architecture")),
        layout=Layout.of(model),
        image_shape=shape,
        num_classes=images.num_classes,
        lr=scenario.algorithm.lr,
        batch_size=scenario.algorithm.batch_size,
        local_steps=local_steps(scenario),
        epochs=scenario.algorithm.epochs,
        algorithm=scenario.federation.name,
        mean_image=data.mean_image,
        rounds=scenario.rounds,
        proximal=plugins.algorithm.proximal,
    )
    return World(device, data, facts, model)


def _builder(
    architecture: Any,
    shape: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    init: Init | None,
) -> Callable[[torch.Generator], nn.Module]:
    """Return what builds the model; it holds public values only, because attacks hold it: no image, no seed."""
    return lambda stream: build_model(architecture, shape, num_classes, mean, std, init, stream)


def local_steps(scenario: Scenario) -> int | None:
    """Return the local steps: one where neither steps nor epochs are given, None where epochs are."""
    section = scenario.algorithm
    return None if section.epochs is not None else section.local_steps or 1


def make_federation(
    scenario: Scenario, plugins: Plugins, world: World, host: PluginHost, crew: MakeCrew | None = None
) -> Federation:
    """Build the FedLab trainer and handler around the model, and the crew around the trainer.

    Args:
        scenario: The scenario.
        plugins: Its plugins.
        world: Its data and model.
        host: All plugins that have hooks.
        crew: Makes who carries out the clients' training, other processes for instance; None = this process.
    """
    if crew is not None and scenario.simulation.cohort is True:
        raise ScenarioError(
            "simulation.cohort must be auto or false where other processes train the clients, got true, which trains "
            "all of them in this one; set it to auto"
        )
    section = scenario.algorithm
    clients_checked(world.data.num_clients, section.clients_per_round)
    check_client_ids(scenario, host, world.data.num_clients)
    training = LocalTraining(
        epochs=section.epochs or 1,
        batch_size=section.batch_size,
        lr=section.lr,
        clients_per_round=section.clients_per_round,
        num_clients=world.data.num_clients,
        seed=scenario.seed,
    )
    return Federation(
        Setting(
            algorithm=plugins.algorithm,
            training=training,
            steps=local_steps(scenario),
            rounds=scenario.rounds,
            model=world.model,
            data=world.data,
            facts=world.facts,
            host=host,
            aggregation=scenario.aggregation,
            absent=absent_policy(scenario, plugins),
            seed=scenario.seed,
            crew=crew or CohortChoice(scenario.simulation),
        )
    )


def absent_policy(scenario: Scenario, plugins: Plugins) -> Absent:
    """Return the explicit policy, else the pruner's own, else ``previous``."""
    own = [getattr(entry.plugin, "absent", None) for entry in plugins.hooked if entry.kind == "pruners"]
    policy: Absent = scenario.aggregation.absent or (own[0] if own and own[0] else "previous")
    return policy


def scenario_warnings(scenario: Scenario, plugins: Plugins) -> list[str]:
    """Return what is allowed and known to go wrong."""
    warnings = []
    if scenario.defenses and absent_policy(scenario, plugins) == "zeros":
        warnings.append("aggregation.absent: zeros with a defence does not train: accuracy stays near chance")
    if len(scenario.attacks) and scenario.privacy.control_images < 3:
        warnings.append("privacy.control_images below 3: no positive control can pass, every privacy figure is void")
    if (
        scenario.federation.name == "fednova"
        and scenario.algorithm.epochs
        and scenario.aggregation.weighting == "samples"
    ):
        warnings.append(
            "fednova averages the numbers of steps unweighted: with epochs, set aggregation.weighting: uniform"
        )
    if scenario.aggregation.buffers == "server" and scenario.data.public == 0:
        warnings.append("aggregation.buffers: server needs data.public to estimate batch-norm statistics on")
    return warnings
